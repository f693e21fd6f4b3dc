import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { receiveArchive } from '../../src/api/receive-archive.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gantry-archive-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function archive(names: Record<string, string>): Promise<Buffer> {
  const tar = pack();
  for (const [name, text] of Object.entries(names)) tar.entry({ name }, text);
  tar.finalize();
  return buffer(tar);
}

function receive(bytes: Buffer): Promise<void> {
  const chunks = Array.from({ length: Math.ceil(bytes.length / 4000) }, (_, n) =>
    bytes.subarray(n * 4000, (n + 1) * 4000),
  );
  return receiveArchive(Readable.from(chunks), join(folder, 'kept.tar'), 0);
}

test('keeps an archive as it came', async () => {
  const whole = await archive({ 'data/a': 'x'.repeat(30_000), 'data/b': '' });
  await receive(whole);
  expect(await readFile(join(folder, 'kept.tar'))).toEqual(whole);
});

// In the middle of a file, between two, within a header, and without its end.
test.each([10_000, 30_720, 31_744, 33_000])(
  'tells of one that is cut after %i bytes, and keeps nothing',
  async (length) => {
    const whole = await archive({ 'data/a': 'x'.repeat(30_000), 'data/b': 'x'.repeat(3000) });
    await expect(receive(whole.subarray(0, length))).rejects.toThrow(
      /^(the archive is broken: .*|the archive was cut off)$/,
    );
    expect(await readdir(folder)).toEqual([]);
  },
);

test.each([
  ['no tar', Buffer.alloc(5000, 'x'), /tar/],
  ['nothing', Buffer.alloc(0), /no archive of a service/],
])('tells of %s', async (_, bytes, what) => {
  await expect(receive(bytes)).rejects.toThrow(what);
  expect(await readdir(folder)).toEqual([]);
});

test('tells of an archive of something else', async () => {
  await expect(receive(await archive({ '../etc/passwd': 'x' }))).rejects.toThrow(
    'that is no archive of a service',
  );
});
