import { randomUUID } from 'node:crypto';
import { rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { diskRefusal, messageOf, UserError } from '../errors.ts';
import { timeoutSignal } from '../timeout-signal.ts';

/** Looks at one thing a server needs. What it returns or throws is what is wrong. */
export type ReadinessCheck = (signal: AbortSignal) => Promise<string | undefined>;

export type Readiness = { isReady: boolean; checks: Record<string, string> };

const patienceMs = 2500;

/** Asks all checks at once; one that does not answer is one that fails. */
export async function readiness(checks: Readonly<Record<string, ReadinessCheck>>): Promise<Readiness> {
  const results = await Promise.all(
    Object.entries(checks).map(async ([name, check]): Promise<[string, string]> => {
      const signal = timeoutSignal(patienceMs);
      const silence = new Promise<string>((resolve) => {
        signal.addEventListener('abort', () => resolve('it does not answer'));
      });
      const problem = await Promise.race([check(signal), silence]).catch(messageOf);
      return [name, problem ?? 'ok'];
    }),
  );
  return { isReady: results.every(([, state]) => state === 'ok'), checks: Object.fromEntries(results) };
}

/** Enough room for a push, its checkout and Redis' own files. */
const leastFreeBytes = 512 * 1024 ** 2;

export async function freeBytes(folder: string): Promise<number> {
  const disk = await statfs(folder);
  return disk.bavail * disk.bsize;
}

/** Throws what a pusher is told while nothing can be written there: bytes or inodes are used up, or it is read-only. */
export async function assertDiskTakes(folder: string): Promise<void> {
  const file = join(folder, `.probe-${randomUUID()}`);
  try {
    try {
      await writeFile(file, 'a byte');
    } finally {
      await rm(file, { force: true });
    }
  } catch (error) {
    const refusal = diskRefusal(error);
    if (!refusal) throw error;
    throw new UserError('DISK_UNAVAILABLE', `${refusal.reason}; running apps are not affected`, refusal.fix);
  }
}

export function diskCheck(folder: string): ReadinessCheck {
  return async () => {
    await assertDiskTakes(folder);
    const free = await freeBytes(folder);
    return free < leastFreeBytes ? `only ${Math.floor(free / 1024 ** 2)} MiB are free` : undefined;
  };
}
