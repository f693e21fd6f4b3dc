import { readFile } from 'node:fs/promises';

/** The hard limit of this process, which HAProxy inherits and raises itself to. */
export async function openFileLimit(): Promise<number> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1];
  return hard === 'unlimited' ? 1_000_000 : Number(hard ?? 4096);
}
