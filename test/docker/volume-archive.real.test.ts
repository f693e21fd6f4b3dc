import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DockerodeEngine } from '../../src/docker/dockerode-engine.ts';
import type { VolumeAccess } from '../../src/docker/engine.ts';
import { ensureBaseImage } from '../support/base-image.ts';

const engine = new DockerodeEngine();
const volume = `gantry-test-archive-${process.pid}`;
let access: VolumeAccess;
beforeAll(async () => {
  access = {
    image: await ensureBaseImage(),
    volume,
    name: `${volume}.copy`,
    labels: { 'gantry.store': volume },
  };
});
afterAll(async () => {
  await engine.removeVolume(volume);
  await engine.close();
});
const { signal } = new AbortController();

async function read(): Promise<string> {
  let found = '';
  await engine.readVolume(
    access,
    async (tar) => {
      found = (await buffer(tar)).toString('latin1');
    },
    signal,
  );
  return found;
}

test('what is unpacked into a volume comes out of it again, and no container stays', async () => {
  const tar = pack();
  tar.entry({ name: 'data/note' }, 'kept');
  tar.finalize();
  expect(await engine.writeVolume(access, Readable.from(tar, { objectMode: false }), signal)).toEqual({
    ok: true,
  });
  expect(await read()).toMatch(/^data\/\0[^]*data\/note\0[^]*kept\0/);
  expect(await engine.listNames(`gantry.store=${volume}`)).toEqual([]);
});

test('a file that cannot be read fails its unpacking, and nothing else', async () => {
  await expect(engine.writeVolume(access, createReadStream('/nowhere/at.all'), signal)).rejects.toThrow(
    /ENOENT/,
  );
  expect(await engine.listNames(`gantry.store=${volume}`)).toEqual([]);
  expect(await read()).toMatch(/kept/);
});
