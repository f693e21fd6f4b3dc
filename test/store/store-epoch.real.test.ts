import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { dataPaths } from '../../src/config.ts';
import { keys } from '../../src/store/keys.ts';
import { knownEpoch, StoreEpoch } from '../../src/store/store-epoch.ts';
import { acceptOld, checkStoreId, isOldStore, ownStore } from '../../src/store/store-id.ts';
import { temporaryRedis } from '../support/redis.ts';
import { until } from '../support/rig.ts';

let redis: Awaited<ReturnType<typeof temporaryRedis>>;
let folder: string;
beforeAll(async () => {
  redis = await temporaryRedis();
});
afterAll(() => redis[Symbol.asyncDispose]());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gantry-epoch-'));
  await redis.connect().flushall();
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A store that runs, as a server has it, but quicker than any disk. */
async function running(everyMs = 1) {
  const client = redis.connect();
  const paths = dataPaths(folder);
  const id = await checkStoreId(client, paths);
  const troubles: unknown[] = [];
  const epoch = new StoreEpoch({
    redis: client,
    id,
    file: paths.storeEpoch,
    assertOwnStore: ownStore(client, id, paths),
    onTrouble: (error) => troubles.push(error),
    everyMs,
  });
  epoch.start();
  const stored = async (): Promise<number> => Number(await client.hget(keys.meta, 'epoch'));
  const known = (): number => knownEpoch(paths.storeEpoch, id);
  return { client, paths, id, epoch, troubles, stored, known };
}

test('the data folder follows the store, never ahead of what was safe a while ago; after an end in order both know the same', async () => {
  const { epoch, troubles, stored, known } = await running();
  await until('the folder knows something', () => known() > 0);
  for (let look = 0; look < 20; look += 1) {
    const before = known();
    expect(before).toBeLessThan(await stored());
  }
  await epoch.stop();
  expect(known()).toBe(await stored());
  expect(troubles).toEqual([]);
});

test('an older state is refused at the start and while all runs, until it is accepted; the folder keeps what it knows', async () => {
  const { client, paths, id, epoch, troubles, stored, known } = await running();
  await until('the folder knows something', () => known() > 10);
  await client.hset(keys.meta, 'epoch', 1);
  await expect(ownStore(client, id, paths)()).rejects.toThrow(
    'Redis holds an older state of this Gantry than its data folder knows of: nothing is changed, and apps go on',
  );
  await until('it is not counted on', () => troubles.length > 0);
  await epoch.stop();
  // One that had just looked may still have counted.
  expect(await stored()).toBeLessThan(3);
  expect(await isOldStore(client, paths, id)).toBe(true);
  await expect(checkStoreId(client, paths)).rejects.toThrow(/: gantry accept-old-store$/);
  await acceptOld(client, paths, id);
  expect(await checkStoreId(client, paths)).toBe(id);
  await ownStore(client, id, paths)();
});

test('what the folder knows of another store says nothing about this one', async () => {
  const { client, paths, epoch, known } = await running();
  await until('the folder knows something', () => known() > 0);
  await epoch.stop();
  await rm(paths.storeId);
  await client.flushall();
  const fresh = await checkStoreId(client, paths);
  expect(await readFile(paths.storeEpoch, 'utf8')).not.toContain(fresh);
  expect(await isOldStore(client, paths, fresh)).toBe(false);
});
