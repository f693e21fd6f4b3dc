import { AsyncLocalStorage } from 'node:async_hooks';
import type { ChildProcess } from 'node:child_process';
import { subscribe } from 'node:diagnostics_channel';
import { getSystemErrorName } from 'node:util';

/**
 * Runs `start`, which starts a child process but may not listen to its `error`, which would end our process. Rejects with
 * why there is none, such as `spawn git EMFILE`, whatever `start` makes of it.
 */
export async function withErrorHandled<T>(start: () => Promise<T>): Promise<T> {
  const failed: { why?: Error } = {};
  try {
    return await ofOthers.run(failed, start);
  } catch (error) {
    throw failed.why ?? error;
  }
}

const ofOthers = new AsyncLocalStorage<{ why?: Error }>();

subscribe('child_process', (message) => {
  const { process: child } = message as { process: Spawning };
  const failed = ofOthers.getStore();
  if (failed) child.on('error', () => {});
  const { spawn } = child;
  // Without free file descriptors Node makes no streams of a child's pipes, but leaves open those it already had
  // (ChildProcess.prototype.spawn in Node 20 to 24); a server that was short of them for a moment would stay short.
  child.spawn = (options) => {
    const failure = spawn.call(child, options);
    if (failure !== 0 && failed)
      failed.why = new Error(`spawn ${options.file} ${getSystemErrorName(failure)}`);
    if (failure !== 0 && (child.stdio as unknown) === undefined)
      for (const { handle } of options.stdio) handle?.close();
    return failure;
  };
});

type Spawning = ChildProcess & {
  spawn: (options: { file: string; stdio: readonly { handle?: { close: () => void } }[] }) => number;
};
