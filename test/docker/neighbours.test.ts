import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeRoomForNeighbours, reachableContainers } from '../../src/docker/neighbours.ts';
import { neighboursFinding } from '../../src/doctor/engine.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gantry-neighbours-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function limits(hard: number, soft: number): Promise<void> {
  await writeFile(join(folder, 'gc_thresh3'), `${hard}\n`);
  await writeFile(join(folder, 'gc_thresh2'), `${soft}\n`);
}

async function read(name: string): Promise<number> {
  return Number(await readFile(join(folder, name), 'utf8'));
}

describe('room for the neighbours of a machine', () => {
  test('is made for thousands of containers', async () => {
    await limits(1024, 512);
    expect(await reachableContainers(folder)).toBe(512);
    expect(await makeRoomForNeighbours(folder)).toBe(true);
    expect([await read('gc_thresh3'), await read('gc_thresh2')]).toEqual([16_384, 8_192]);
    expect(await reachableContainers(folder)).toBe(8192);
  });

  test('is never less than somebody wanted', async () => {
    await limits(100_000, 1000);
    await makeRoomForNeighbours(folder);
    expect([await read('gc_thresh3'), await read('gc_thresh2')]).toEqual([100_000, 8_192]);
  });

  test('is not for us to make or to see in a container', async () => {
    expect(await makeRoomForNeighbours(join(folder, 'none'))).toBe(false);
    expect(await reachableContainers(join(folder, 'none'))).toBeUndefined();
  });
});

test.each([
  [10, 512, 'ok'],
  [409, 512, 'ok'],
  [410, 512, 'warn'],
  [600, 512, 'warn'],
])('%i running containers where %i can be talked to: %s', (running, most, state) => {
  expect(neighboursFinding(running, most)).toMatchObject({ check: 'neighbours', state });
});
