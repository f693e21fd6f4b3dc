import { type Processor, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { keys } from '../store/keys.ts';
import { type LockTimes, limitLocks } from './limit-locks.ts';

const lockTimes: LockTimes = { lockDuration: 15_000, stalledInterval: 5_000 };

type WorkerOptions = { connection: Redis; concurrency?: number; logger: Logger };

/** Takes jobs once it is started. Those of a process that died are taken up by another within twenty seconds. */
export function openWorker<Job>(
  name: string,
  take: Processor<Job>,
  { connection, concurrency = 1, logger }: WorkerOptions,
): Worker<Job> {
  const worker = new Worker<Job>(name, take, {
    connection,
    prefix: keys.bull,
    concurrency,
    ...lockTimes,
    // Crashes are counted by what the job is for, so that its end can be told to people.
    maxStalledCount: 1000,
    autorun: false,
  });
  const trouble = (err: unknown): void => logger.debug({ reason: messageOf(err) }, 'queue trouble');
  worker.on('error', trouble);
  const limiting = setInterval(
    () => void limitLocks(connection, name, lockTimes).catch(trouble),
    lockTimes.stalledInterval,
  );
  worker.on('closing', () => clearInterval(limiting));
  return worker;
}

export function startWorker<Job>(worker: Worker<Job>, logger: Logger): void {
  void worker.run().catch((err: unknown) => {
    if (!worker.closing) logger.error({ err, queue: worker.name }, 'the worker of a queue ended');
  });
}
