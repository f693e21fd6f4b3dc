import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';

/** Process ids whose program has the name and whose arguments mention the folder: those of one rig only. */
export async function processesIn(folder: string, name: string): Promise<number[]> {
  const found: number[] = [];
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const command = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
    const [program = ''] = command.split('\0');
    if (program.endsWith(name) && command.includes(folder)) found.push(Number(entry));
  }
  return found;
}

/** Everything that runs for a folder: its name is in the arguments or in the environment. */
export async function processesOf(folder: string): Promise<string[]> {
  const read = (pid: string, file: string): Promise<string> =>
    readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
  const found = await Promise.all(
    (await readdir('/proc'))
      .filter((entry) => /^\d+$/.test(entry))
      .map(async (pid) => {
        const command = await read(pid, 'cmdline');
        const isOurs = command.includes(folder) || (await read(pid, 'environ')).includes(folder);
        return isOurs ? [`${pid} ${command.replaceAll('\0', ' ')}`] : [];
      }),
  );
  return found.flat();
}

/** Whatever mentions it in its arguments, in a container or not. */
export async function processesWith(mark: string): Promise<string[]> {
  const found = await Promise.all(
    (await readdir('/proc'))
      .filter((entry) => /^\d+$/.test(entry))
      .map(async (pid) => {
        const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
        return command.includes(mark) ? [`${pid} ${command.replaceAll('\0', ' ')}`] : [];
      }),
  );
  return found.flat();
}

/** A process and everything it started: git's transport is a program of its own. */
export async function family(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const nested = await Promise.all(
    children
      .split(' ')
      .filter(Boolean)
      .map((child) => family(Number(child))),
  );
  return [pid, ...nested.flat()];
}

/** Every command line that was seen on this machine while something went on. */
export async function watchingProcesses<T>(going: Promise<T>): Promise<[T, string]> {
  const seen = new Set<string>();
  let isOver = false;
  const watching = (async () => {
    while (!isOver) {
      for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
        seen.add(await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''));
      }
    }
  })();
  try {
    return [await going, [...seen].join('\n')];
  } finally {
    isOver = true;
    await watching;
  }
}

/** The one that `unshare` or `nsenter` started: a signal to those does not reach it. */
export function innerPid(outer: ChildProcess | undefined): number {
  const children = readFileSync(`/proc/${outer?.pid}/task/${outer?.pid}/children`, 'utf8');
  return Number(children.split(' ')[0]);
}

/** Suspends everything that runs for a folder, what it starts meanwhile included. */
export async function freezeAll(folder: string): Promise<number[]> {
  const frozen = new Set<number>();
  for (;;) {
    const pids = (await processesOf(folder)).map((line) => Number.parseInt(line, 10));
    const others = pids.filter((pid) => !frozen.has(pid));
    if (others.length === 0) return pids;
    signalAll(others, 'SIGSTOP');
    for (const pid of others) frozen.add(pid);
  }
}

export function killAll(pids: readonly number[]): void {
  signalAll(pids, 'SIGKILL');
}

/** Some may have ended, because of the others or by themselves. */
function signalAll(pids: readonly number[], signal: 'SIGSTOP' | 'SIGKILL'): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
    }
  }
}
