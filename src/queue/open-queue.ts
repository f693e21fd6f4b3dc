import { type DefaultJobOptions, Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { keys } from '../store/keys.ts';

/** Jobs that stay until they went well: what they stand for is in the store, and doing it twice does no harm. */
export const untilDone: DefaultJobOptions = {
  removeOnComplete: true,
  removeOnFail: { count: 100 },
  attempts: 1_000_000,
  backoff: { type: 'fixed', delay: 2000 },
};

export function openQueue<Job>(name: string, connection: Redis): Queue<Job> {
  const queue = new Queue<Job>(name, {
    connection,
    prefix: keys.bull,
    streams: { events: { maxLen: 1000 } },
    defaultJobOptions: untilDone,
  });
  queue.on('error', () => {}); // the connection reports its own trouble to whoever awaits a command
  return queue;
}
