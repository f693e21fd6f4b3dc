import { type Processor, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { keys } from '../store/keys.ts';

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
    lockDuration: 15_000,
    stalledInterval: 5_000,
    // Crashes are counted by what the job is for, so that its end can be told to people.
    maxStalledCount: 1000,
    autorun: false,
  });
  worker.on('error', (err) => logger.debug({ reason: messageOf(err) }, 'queue trouble'));
  return worker;
}

export function startWorker<Job>(worker: Worker<Job>, logger: Logger): void {
  void worker.run().catch((err: unknown) => {
    if (!worker.closing) logger.error({ err, queue: worker.name }, 'the worker of a queue ended');
  });
}
