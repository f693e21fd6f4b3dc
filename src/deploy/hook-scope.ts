import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { timeoutSignal } from '../timeout-signal.ts';

/**
 * Where systemd runs, the groups of the machine are its own, and whoever wants to make some asks it for a part of them:
 * a scope with `Delegate=yes`. It is there as long as a process is in it, so this starts one that does nothing and ends
 * with ours, however that ends; then systemd tidies up below it.
 *
 * Gives the id of that process. `undefined`: there is no systemd, or it gives us none.
 */
export async function openScope(): Promise<number | undefined> {
  const isBooted = await access('/run/systemd/system').then(
    () => true,
    () => false,
  );
  if (!isBooted) return undefined;
  const scope = ['--scope', '--quiet', '--collect', `--unit=gantry-hooks-${process.pid}`];
  const delegated = ['--property=Delegate=yes', '--property=Description=Hooks of apps on Gantry'];
  // What it reads is never written, and ends when we do.
  const keeper = ['sh', '-c', 'echo ready; exec cat'];
  const child = spawn('systemd-run', [...scope, ...delegated, '--', ...keeper], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const isReady = await firstLine(child).then(
    (line) => line === 'ready',
    () => false,
  );
  if (!isReady) {
    child.kill('SIGKILL');
    return undefined;
  }
  child.unref();
  for (const stream of [child.stdin, child.stdout]) (stream as Socket).unref();
  return child.pid;
}

async function firstLine(child: ChildProcess): Promise<unknown> {
  if (!child.stdout) throw new Error('not started');
  const ended = new AbortController();
  child.on('error', () => ended.abort()).on('exit', () => ended.abort());
  const signal = AbortSignal.any([ended.signal, timeoutSignal(5000)]);
  const [line] = (await once(createInterface(child.stdout), 'line', { signal })) as unknown[];
  return line;
}
