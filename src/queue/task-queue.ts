import type { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import { openQueue } from './open-queue.ts';

export const taskQueueName = 'task';

/** What is to be run is in the store; a doubled job does no harm. */
export type TaskJob = { app: AppName; number: number };

export class TaskQueue {
  readonly #queue: Queue<TaskJob>;

  constructor(connection: Redis) {
    this.#queue = openQueue(taskQueueName, connection);
  }

  async add(app: AppName, number: number): Promise<void> {
    await this.#queue.add('run', { app, number }, { jobId: `${app}.${number}` });
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}
