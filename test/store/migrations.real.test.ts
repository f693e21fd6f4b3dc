import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { keys } from '../../src/store/keys.ts';
import { type Migration, migrateStore } from '../../src/store/migrations.ts';
import { temporaryRedis } from '../support/redis.ts';

let redis: Awaited<ReturnType<typeof temporaryRedis>>;
beforeAll(async () => {
  redis = await temporaryRedis();
});
afterAll(() => redis[Symbol.asyncDispose]());
beforeEach(async () => {
  await redis.connect().flushall();
  await redis.connect().hset(keys.meta, 'id', 'some', 'schema', 1);
});

/** Writes down that it was carried out. */
function step(to: number, act: () => Promise<unknown> = () => Promise.resolve()): Migration {
  return {
    to,
    migrate: async (client) => {
      await client.rpush('done', to);
      await act();
    },
  };
}

test('each is carried out once and in order, however many processes start at the same time', async () => {
  const clients = Array.from({ length: 5 }, () => redis.connect());
  await Promise.all(clients.map((client) => migrateStore(client, [step(2), step(3)])));
  await migrateStore(redis.connect(), [step(2), step(3), step(4)]);
  expect(await redis.connect().lrange('done', 0, -1)).toEqual(['2', '3', '4']);
  expect(await redis.connect().hget(keys.meta, 'schema')).toBe('4');
});

test('one that fails is carried out again by the next start, and those before it are not', async () => {
  const client = redis.connect();
  const broken = step(3, () => Promise.reject(new Error('no')));
  await expect(migrateStore(client, [step(2), broken])).rejects.toThrow('no');
  expect(await client.hget(keys.meta, 'schema')).toBe('2');
  await migrateStore(client, [step(2), step(3)]);
  expect(await client.lrange('done', 0, -1)).toEqual(['2', '3', '3']);
});

test('the queue is emptied with each, and a store that is as wanted is left alone', async () => {
  const client = redis.connect();
  await client.set(`${keys.bull}:deploy:1`, 'a job in old words');
  await migrateStore(client, []);
  expect(await client.exists(`${keys.bull}:deploy:1`)).toBe(1);
  await migrateStore(client, [step(2)]);
  expect((await client.keys('gantry:*')).toSorted()).toEqual([keys.meta]);
});
