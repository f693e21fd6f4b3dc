import type { Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import type { Logger } from '../logger.ts';
import { openQueue } from './open-queue.ts';
import { openWorker, startWorker } from './open-worker.ts';

const queueName = 'poll';
/** git processes at the same time. */
const atOnce = 4;

type Tick = { app: AppName };

/** The times at which linked repositories are looked at, kept by BullMQ: one scheduler for each app. */
export class PollSchedule {
  readonly #queue: Queue<Tick>;

  constructor(connection: Redis) {
    this.#queue = openQueue(queueName, connection);
  }

  /** `undefined` ends it. The first look is at once. */
  async set(app: AppName, everySeconds: number | undefined): Promise<void> {
    await this.#queue.removeJobScheduler(app);
    if (everySeconds === undefined) return;
    await this.#queue.upsertJobScheduler(
      app,
      { every: everySeconds * 1000 },
      // One that fails is made up for by the next.
      { name: 'tick', data: { app }, opts: { attempts: 1, removeOnComplete: true, removeOnFail: true } },
    );
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}

type PollWorkerOptions = {
  connection: Redis;
  /** `tick` is the same when a tick is done again because its process died. */
  poll: (app: AppName, tick: string) => Promise<void>;
  logger: Logger;
};

/** Looks when it is time: once for each tick, however many servers there are. */
export class PollWorker {
  readonly #options: PollWorkerOptions;
  readonly #worker: Worker<Tick>;

  constructor(options: PollWorkerOptions) {
    this.#options = options;
    const { poll, logger } = options;
    this.#worker = openWorker<Tick>(
      queueName,
      (job) => poll(job.data.app, /\d+$/.exec(job.id ?? '')?.[0] ?? ''),
      { ...options, concurrency: atOnce },
    );
    this.#worker.on('failed', (job, err) =>
      logger.warn({ app: job?.data.app, err }, 'a linked repository was not looked at'),
    );
  }

  start(): void {
    startWorker(this.#worker, this.#options.logger);
  }

  /** A look that takes longer is not waited for: the next makes up for it. */
  async close(): Promise<void> {
    await this.#worker.close(true);
  }
}
