import { Queue, Worker } from 'bullmq';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AppName, parseAppName } from '../../src/domain/app.ts';
import { DeployQueue, queueName } from '../../src/queue/deploy-queue.ts';
import { limitLocks } from '../../src/queue/limit-locks.ts';
import { keys } from '../../src/store/keys.ts';
import { TurnStore } from '../../src/store/turn-store.ts';
import { temporaryRedis } from '../support/redis.ts';

let redis: Awaited<ReturnType<typeof temporaryRedis>>;
let queue: DeployQueue;
let raw: Queue;
beforeAll(async () => {
  redis = await temporaryRedis();
  queue = new DeployQueue(redis.connect());
  raw = new Queue(queueName, { connection: redis.connect(), prefix: keys.bull });
});
afterAll(async () => {
  await queue.close();
  await raw.close();
  await redis[Symbol.asyncDispose]();
});

const app = parseAppName('shop') as AppName;

test('a wake-up that would come an hour late, because the clock was set back, is repaired', async () => {
  const options = { deduplication: { id: app, keepLastIfActive: true }, delay: 3_600_000 };
  await raw.add('wake', { app }, options);
  await queue.wake(app);
  expect(await raw.getWaitingCount()).toBe(0);
  expect(await queue.repair(app)).toBe(false);
  expect(await raw.getWaitingCount()).toBe(1);
  // Of one that waits for a worker there is nothing to repair.
  expect(await queue.repair(app)).toBe(false);
  expect(await raw.getWaitingCount()).toBe(1);
});

test('a mark whose wake-up is gone keeps no other away', async () => {
  await raw.obliterate({ force: true });
  await queue.wake(app);
  const [job] = await raw.getWaiting();
  await redis.connect().del(`${keys.bull}:${queueName}:${job?.id}`);
  expect(await queue.repair(app)).toBe(true);
});

test('a job that nobody works on any more keeps no wake-up away', async () => {
  await raw.obliterate({ force: true });
  await queue.wake(app);
  const worker = new Worker(queueName, null, { connection: redis.connect(), prefix: keys.bull });
  const job = await worker.getNextJob('a worker');
  expect(job?.data).toEqual({ app });
  expect(await queue.repair(app)).toBe(false);
  // Its worker was killed, or the clock was set forward.
  await redis.connect().del(`${keys.bull}:${queueName}:${job?.id}:lock`);
  await queue.wake(app);
  expect(await raw.getWaitingCount()).toBe(0);
  expect(await queue.repair(app)).toBe(true);
  await queue.wake(app);
  expect(await raw.getWaitingCount()).toBe(1);
  await worker.close();
});

test('a lock that was made before the clock was set back ends when it should have', async () => {
  await raw.obliterate({ force: true });
  await queue.wake(app);
  const worker = new Worker(queueName, null, { connection: redis.connect(), prefix: keys.bull });
  const job = await worker.getNextJob('a worker');
  const [lock, check] = [`${job?.id}:lock`, 'stalled-check'].map((name) => raw.toKey(name)) as [
    string,
    string,
  ];
  const own = redis.connect();
  await own.set(check, 1, 'PX', 3_600_000);
  await own.pexpire(lock, 3_600_000);
  const times = { lockDuration: 15_000, stalledInterval: 5_000 };
  await limitLocks(own, queueName, times);
  expect(await own.pttl(lock)).toBeLessThanOrEqual(15_000);
  expect(await own.pttl(check)).toBeLessThanOrEqual(5_000);
  expect(await own.exists(lock, check)).toBe(2);
  // One that ends in time is left as it is.
  await own.pexpire(lock, 2_000);
  await limitLocks(own, queueName, times);
  expect(await own.pttl(lock)).toBeLessThanOrEqual(2_000);
  await worker.close();
});

test('a turn that was taken before the clock was set back ends when it should have', async () => {
  const own = redis.connect();
  const turns = new TurnStore(own, 'a-turn');
  expect(await turns.hold('the first', 6000)).toBe(true);
  await own.pexpire('a-turn', 3_600_000);
  expect(await turns.hold('the second', 6000)).toBe(false);
  expect(await own.pttl('a-turn')).toBeLessThanOrEqual(6000);
  expect(await own.get('a-turn')).toBe('the first');
});
