import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const mirror = 'http://deb.debian.org/debian';
const attemptMs = 180_000;

/**
 * Makes a Debian image from its mirror, with what the options of mmdebstrap say; they may name files of `dir`. Some
 * minutes at the most: a download that stalls is begun anew, and what it said is printed.
 */
export async function importDebian(
  tag: string,
  dir: string,
  options: readonly string[],
  changes: readonly string[],
): Promise<void> {
  const root = join(dir, 'root.tar');
  const network = ['--aptopt=Acquire::Retries "5"', '--aptopt=Acquire::http::Timeout "15"'];
  const limits = { cwd: dir, maxBuffer: 16 * 1024 * 1024, timeout: attemptMs };
  await withRetries(() => run('mmdebstrap', [...network, ...options, 'bookworm', root, mirror], limits));
  await run('docker', ['import', ...changes.flatMap((change) => ['--change', change]), root, tag]);
}

/** Smaller and quicker: nothing is read again that is only for people. */
export const leanDpkg = [
  '--dpkgopt=force-unsafe-io',
  '--dpkgopt=path-exclude=/usr/share/doc/*',
  '--dpkgopt=path-exclude=/usr/share/man/*',
  '--dpkgopt=path-exclude=/usr/share/locale/*',
];

/** For what needs a network that is not ours to test. */
export async function withRetries<T>(act: () => Promise<T>): Promise<T> {
  for (let left = 2; ; left -= 1) {
    try {
      return await act();
    } catch (error) {
      if (left === 0) throw error;
      console.warn('once more, this did not work:', error);
    }
  }
}
