import type { Job, Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import type { CronEntry } from '../domain/cron-file.ts';
import { isTaskOver } from '../domain/task.ts';
import type { Logger } from '../logger.ts';
import type { TaskStore } from '../store/task-store.ts';
import { openQueue, untilDone } from './open-queue.ts';
import { openWorker, startWorker } from './open-worker.ts';
import type { TaskQueue } from './task-queue.ts';

const queueName = 'cron';

type Tick = { app: AppName; index: number; command: string };

/** The times at which live releases want something to be run, kept by BullMQ: one scheduler for each entry. */
export class CronSchedule {
  readonly #queue: Queue<Tick>;

  constructor(connection: Redis) {
    this.#queue = openQueue(queueName, connection);
  }

  /** Makes the schedulers of an app what its live release says. Fine to repeat. */
  async match(app: AppName, entries: readonly CronEntry[]): Promise<void> {
    for (const [index, { schedule, command }] of entries.entries()) {
      await this.#queue.upsertJobScheduler(
        schedulerId(app, index),
        { pattern: schedule, tz: 'UTC' },
        {
          name: 'tick',
          data: { app, index, command },
          opts: untilDone,
        },
      );
    }
    const wanted = new Set(entries.map((_, index) => schedulerId(app, index)));
    for (const { key } of await this.#queue.getJobSchedulers()) {
      if (key.startsWith(`${app}.`) && !wanted.has(key)) await this.#queue.removeJobScheduler(key);
    }
  }

  /** When the entry is run next. */
  async next(app: AppName, index: number): Promise<Date | undefined> {
    const scheduler = await this.#queue.getJobScheduler(schedulerId(app, index));
    return scheduler?.next === undefined ? undefined : new Date(scheduler.next);
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}

/** No name of an app has a dot. */
function schedulerId(app: AppName, index: number): string {
  return `${app}.${index}`;
}

export type CronWorkerOptions = {
  connection: Redis;
  isStopped: (app: AppName) => Promise<boolean>;
  tasks: TaskStore;
  taskQueue: TaskQueue;
  logger: Logger;
};

/** Makes a task of every tick; one tick, one task, however many workers there are and whichever of them dies. */
export class CronWorker {
  readonly #options: CronWorkerOptions;
  readonly #worker: Worker<Tick>;

  constructor(options: CronWorkerOptions) {
    this.#options = options;
    this.#worker = openWorker<Tick>(queueName, (job) => this.#tick(job), options);
  }

  start(): void {
    startWorker(this.#worker, this.#options.logger);
  }

  async close(): Promise<void> {
    await this.#worker.close();
  }

  async #tick(job: Job<Tick>): Promise<void> {
    const { app, index, command } = job.data;
    const { isStopped, tasks, taskQueue, logger } = this.#options;
    if (await isStopped(app)) return;
    const requestId = `cron ${app} ${job.id}`;
    const running = (await tasks.list(app)).find(({ cron, state }) => cron === index && !isTaskOver(state));
    if (running) {
      logger.warn({ app, entry: index, task: running.number }, 'cron entry skipped: it still runs');
      await tasks.recordSkip(app, index);
      return;
    }
    // Clever Cloud's name for the folder of the app.
    const words = ['sh', '-c', `ROOT=$APP_HOME; export ROOT\n${command}`];
    const number = await tasks.request({ app, command: words, by: 'cron', cron: index, requestId });
    await taskQueue.add(app, number);
  }
}
