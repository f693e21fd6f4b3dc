import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Problem } from '../domain/deployment.ts';
import { tooLongToRun } from '../domain/env.ts';
import { hookEnv } from '../domain/injected-env.ts';
import { safeText } from '../domain/safe-text.ts';
import { type Attempt, injectedFacts } from './attempt.ts';
import { seconds } from './deploy-log.ts';

const lastLinesKept = 20;

/** Runs one of the app's hooks on this host, in the checkout. A problem when it did not end well. */
export async function runHostHook(
  attempt: Attempt,
  name: string,
  command: string | undefined,
  checkoutDir: string,
): Promise<Problem | undefined> {
  if (command === undefined) return undefined;
  const { log, tools, signal } = attempt;
  const began = performance.now();
  await log.heading(`${name[0]?.toUpperCase()}${name.slice(1)}`);
  const env = envOfHook(attempt, checkoutDir);
  const tooLong = tooLongToRun(env);
  if (tooLong) return { reason: `${tooLong} is longer than 128 KiB, which no command can be started with` };

  attempt.guard();
  let lastLines: string[] = [];
  const report = async (lines: string[]): Promise<void> => {
    lastLines = [...lastLines, ...lines.slice(-lastLinesKept)].slice(-lastLinesKept);
    await log.output(...lines);
  };
  const result = await tools.runHook(await asCommand(command, checkoutDir), checkoutDir, env, report, signal);
  signal.throwIfAborted();
  const shown = safeText(command.trim().split('\n')[0] ?? '', 80);
  switch (result.kind) {
    case 'exited':
      if (result.code === 0) {
        await log.detail(`done in ${seconds(performance.now() - began)}`);
        return undefined;
      }
      return {
        reason: `${shown} exited with code ${result.code}`,
        lastLines,
        hints: exitHints(result.code, shown),
      };
    case 'killed':
      return { reason: `${shown} was killed by ${result.signal}`, lastLines };
    case 'timed out':
      return { reason: `${shown} timed out after ${seconds(tools.limits.hookTimeoutMs)}`, lastLines };
    case 'refused':
      return {
        reason: 'the sandbox for hooks could not be made',
        details: [safeText(result.reason, 300)],
        hints: ['the worker must run as root on Linux'],
      };
  }
}

/** The app's variables win over ours, as on any platform; the folder is theirs to know. */
function envOfHook(attempt: Attempt, checkoutDir: string): Record<string, string> {
  return {
    HOME: checkoutDir,
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    LANG: 'C.UTF-8',
    ...hookEnv(injectedFacts(attempt), checkoutDir),
    ...attempt.appEnv,
  };
}

/** A hook may be the name of a file in the repository: `migrate.sh` means ./migrate.sh, which sh would look for in PATH. */
async function asCommand(command: string, checkoutDir: string): Promise<string> {
  const name = command.trim();
  if (!/^[\w.-]+$/.test(name)) return command;
  const isFile = await lstat(join(checkoutDir, name)).then(
    (entry) => entry.isFile(),
    () => false,
  );
  return isFile ? `./${name}` : command;
}

function exitHints(code: number, shown: string): string[] {
  if (code === 126) return [`is it executable?  git update-index --chmod=+x ${shown}`];
  if (code === 127) return ['the command was not found: hooks run on the host, not in your image'];
  return [];
}
