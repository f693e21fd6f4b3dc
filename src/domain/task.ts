import type { AppName } from './app.ts';
import type { TerminalWish } from './terminal.ts';

/** In Cloud Foundry's words. */
export type TaskState = 'PENDING' | 'RUNNING' | 'CANCELING' | 'SUCCEEDED' | 'FAILED';

/**
 * A command that runs once, in a container of its own made of the live release of an app or in one that runs. Numbered per
 * app.
 */
export type Task = {
  app: AppName;
  number: number;
  state: TaskState;
  command: readonly string[];
  /** What the asker calls it, if anything. */
  name: string | undefined;
  /** `undefined`: a container of its own. */
  place: TaskPlace | undefined;
  /** Of its container. `undefined`: as much as an instance of the app has. */
  memoryBytes: number | undefined;
  /** Name of the account that asked for it. */
  by: string;
  /** Which entry of the app's cron file, counted from 0, should it be one. */
  cron: number | undefined;
  /** Of the person who asked for it, should it be theirs to use. */
  terminal: TerminalWish | undefined;
  createdAt: Date;
  endedAt: Date | undefined;
  /** Of the command, when it ran to its end. */
  exitCode: number | undefined;
  /** One line, when it did not. */
  reason: string | undefined;
};

/** A container that runs: an instance of the app, or of one deployment, that may have failed. */
export type TaskPlace = { instance: number; deployment?: number };

export function isTaskOver(state: TaskState): boolean {
  return state === 'SUCCEEDED' || state === 'FAILED';
}

/** How a task ended. */
export type TaskEnd = { exitCode: number } | { reason: string };

const mostWords = 1000;
const mostBytes = 128 * 1024;

export function problemWithCommand(command: readonly string[]): string | undefined {
  if (command.length === 0 || command[0] === '') return 'there is no command to run';
  if (command.length > mostWords || Buffer.byteLength(command.join(' ')) >= mostBytes)
    return 'the command is too long';
  return command.some((word) => word.includes('\0')) ? 'a command holds no NUL bytes' : undefined;
}
