import { createWriteStream } from 'node:fs';
import { open, rm, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar-stream';
import { showBytes } from '../domain/bytes.ts';
import { messageOf, UserError } from '../errors.ts';

/** Whatever a volume holds is below this in its archive. */
const folder = /^(?:\.\/)?data(?:\/|$)/;
/** An archive ends in two blocks of zeros; one that was cut between two files is whole but for them. */
const endBytes = 1024;
const lookAtDiskEveryBytes = 64 * 1024 ** 2;

/**
 * Keeps an uploaded archive of a volume in a file, once it was read to its end. What is wrong with it is told, and no file
 * stays.
 */
export async function receiveArchive(upload: Readable, file: string, floorBytes: number): Promise<void> {
  try {
    await pipeline(upload, checked(file, floorBytes), createWriteStream(file, { mode: 0o600 }));
    if (!(await hasEnd(file))) throw new UserError('INVALID', 'the archive was cut off');
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  }
}

/** Passes on what it reads. */
function checked(file: string, floorBytes: number): Transform {
  const tar = extract();
  let entries = 0;
  let untilLook = 0;
  let broken: Error | undefined;
  const refuse = (reason: string): void => {
    broken ??= new UserError('INVALID', reason, 'it is to come from gantry services backup');
  };
  tar.on('entry', ({ name }, content, next) => {
    entries += 1;
    if (!folder.test(name)) refuse('that is no archive of a service');
    content.on('end', next);
    // It fails with the whole, which tells of it; an error that nobody listens to ends the process.
    content.on('error', () => {});
    content.resume();
  });
  let goOn = (): void => {};
  tar.on('drain', () => goOn());
  tar.on('error', (error) => {
    refuse(entries === 0 ? 'that is no tar' : `the archive is broken: ${messageOf(error)}`);
    goOn();
  });
  const look = async (): Promise<void> => {
    const { bavail, bsize } = await statfs(dirname(file));
    if (bavail * bsize < floorBytes + lookAtDiskEveryBytes)
      throw new UserError(
        'CONFLICT',
        `the disk of the server is nearly full: ${showBytes(bavail * bsize)} free`,
      );
  };
  return new Transform({
    transform(chunk: Buffer, _, done) {
      if (broken) return done(broken);
      untilLook -= chunk.length;
      const isDue = untilLook <= 0;
      if (isDue) untilLook = lookAtDiskEveryBytes;
      const pass = (): void => {
        goOn = () => {
          goOn = () => {};
          done(broken ?? null, chunk);
        };
        if (tar.write(chunk)) goOn();
      };
      if (isDue) look().then(pass, done);
      else pass();
    },
    flush(done) {
      tar.once('close', () => {
        if (entries === 0) refuse('that is no archive of a service');
        done(broken ?? null);
      });
      tar.end(Buffer.alloc(0));
    },
  });
}

async function hasEnd(file: string): Promise<boolean> {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const last = Buffer.alloc(endBytes, 1);
    await handle.read(last, 0, endBytes, Math.max(0, size - endBytes));
    return last.every((byte) => byte === 0);
  } finally {
    await handle.close();
  }
}
