import { Queue, Worker } from 'bullmq';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AppName, parseAppName } from '../../src/domain/app.ts';
import { DeployQueue, queueName } from '../../src/queue/deploy-queue.ts';
import { keys } from '../../src/store/keys.ts';
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
