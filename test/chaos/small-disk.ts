import { execFile } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { mkdtemp, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** More than Gantry needs, and quickly used up. */
const inodes = 10_000;

/** A file system of its own in a folder, so that it can be filled without harm to anybody else. Needs root. */
export async function mountSmallDisk(folder: string, megabytes: number): Promise<AsyncDisposable> {
  const options = `size=${megabytes}m,nr_inodes=${inodes},mode=0700`;
  await run('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder]);
  return {
    [Symbol.asyncDispose]: async () => {
      await run('umount', ['--lazy', folder]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Takes the last byte; it is given back when the answer is disposed. */
export function fillDisk(folder: string): AsyncDisposable {
  const file = join(folder, 'filler');
  const descriptor = openSync(file, 'w');
  for (let bytes = 1 << 20; bytes >= 1; ) {
    try {
      writeSync(descriptor, Buffer.alloc(bytes));
    } catch {
      bytes >>= 1; // the largest piece that still fits
    }
  }
  closeSync(descriptor);
  return { [Symbol.asyncDispose]: () => rm(file, { force: true }) };
}

/** Takes the last inode: there is room, but for no further file. */
export function fillInodes(folder: string): AsyncDisposable {
  const filler = join(folder, 'filler');
  mkdirSync(filler);
  for (let file = 0; isWritten(join(filler, String(file))); file += 1);
  return { [Symbol.asyncDispose]: () => rm(filler, { recursive: true, force: true }) };
}

function isWritten(file: string): boolean {
  try {
    writeFileSync(file, '');
    return true;
  } catch {
    return false;
  }
}

/**
 * Nothing can be made or opened for writing there until the answer is disposed. What is open already stays writable: a
 * file system with such files is not made read-only, so a view of it that is lies on top.
 */
export async function makeReadOnly(folder: string): Promise<AsyncDisposable> {
  const view = await mkdtemp(join(tmpdir(), 'gantry-read-only-'));
  await run('mount', ['--bind', folder, view]);
  await run('mount', ['-o', 'remount,bind,ro', view]);
  await run('mount', ['--bind', view, folder]);
  await run('umount', [view]);
  await rmdir(view);
  return { [Symbol.asyncDispose]: async () => void (await run('umount', ['--lazy', folder])) };
}
