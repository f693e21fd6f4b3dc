import type { Job, Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import { openQueue } from './open-queue.ts';

export const queueName = 'deploy';

/** The whole payload: a wake-up for an app. What to do is read from the store, so a lost or doubled job does no harm. */
export type WakeJob = { app: AppName };

/** Wakes workers. At most one job of an app is active and one waits. */
export class DeployQueue {
  readonly #queue: Queue<WakeJob>;
  readonly #redis: Redis;

  constructor(connection: Redis) {
    this.#redis = connection;
    this.#queue = openQueue(queueName, connection);
  }

  async wake(app: AppName): Promise<void> {
    await this.#queue.add('wake', { app }, { deduplication: { id: app, keepLastIfActive: true } });
  }

  /**
   * Removes a deduplication mark whose job is gone, or is nobody's: with it, wake-ups of the app would be dropped. A job that
   * is to look again in a second does so now: its second takes an hour when the clock was set back by one.
   */
  async repair(app: AppName): Promise<boolean> {
    const id = await this.#queue.getDeduplicationJobId(app);
    if (!id) return false;
    const job = await this.#queue.getJob(id);
    if (!job || (await this.#isNobodys(job))) {
      await this.#queue.removeDeduplicationKey(app);
      return true;
    }
    await job.promote().catch(() => {}); // it does not wait for a time
    return false;
  }

  /**
   * Of a worker that was killed or slept, or whose time ran out at once when the clock was set forward. BullMQ sees it, too,
   * within a minute; or an hour, when the clock was set back by one.
   */
  async #isNobodys(job: Job<WakeJob>): Promise<boolean> {
    if (!(await job.isActive())) return false;
    return (await this.#redis.exists(`${this.#queue.toKey(job.id ?? '')}:lock`)) === 0;
  }

  /** How many worker processes take jobs. */
  async workers(): Promise<number> {
    return this.#queue.getWorkersCount();
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}
