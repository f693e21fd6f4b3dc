import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import { keys } from '../store/keys.ts';

export const taskQueueName = 'task';

/** What is to be run is in the store; a doubled job does no harm. */
export type TaskJob = { app: AppName; number: number };

export class TaskQueue {
  readonly #queue: Queue<TaskJob>;

  constructor(connection: Redis) {
    this.#queue = new Queue<TaskJob>(taskQueueName, {
      connection,
      prefix: keys.bull,
      streams: { events: { maxLen: 1000 } },
      defaultJobOptions: {
        removeOnComplete: true,
        removeOnFail: { count: 100 },
        attempts: 1_000_000,
        backoff: { type: 'fixed', delay: 2000 },
      },
    });
    this.#queue.on('error', () => {}); // the connection reports its own trouble to whoever awaits a command
  }

  async add(app: AppName, number: number): Promise<void> {
    await this.#queue.add('run', { app, number }, { jobId: `${app}.${number}` });
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}
