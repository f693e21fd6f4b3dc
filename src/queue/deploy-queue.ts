import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import { keys } from '../store/keys.ts';

export const queueName = 'deploy';

/** The whole payload: a wake-up for an app. What to do is read from the store, so a lost or doubled job does no harm. */
export type WakeJob = { app: AppName };

/** Wakes workers. At most one job of an app is active and one waits. */
export class DeployQueue {
  readonly #queue: Queue<WakeJob>;

  constructor(connection: Redis) {
    this.#queue = new Queue<WakeJob>(queueName, {
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

  async wake(app: AppName): Promise<void> {
    await this.#queue.add('wake', { app }, { deduplication: { id: app, keepLastIfActive: true } });
  }

  /** Removes a deduplication mark whose job is gone; with it, wake-ups of the app would be dropped for ever. */
  async repair(app: AppName): Promise<void> {
    const id = await this.#queue.getDeduplicationJobId(app);
    if (id && !(await this.#queue.getJob(id))) await this.#queue.removeDeduplicationKey(app);
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}
