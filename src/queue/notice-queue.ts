import { DelayedError, type Queue, type Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Logger } from '../logger.ts';
import { openQueue } from './open-queue.ts';
import { openWorker, startWorker } from './open-worker.ts';

const queueName = 'notice';
/** A receiver that lets us wait holds up no other. */
const atOnce = 32;

/** Which one; what it says and how often it was tried is in the store, so a doubled job does no harm. */
type NoticeJob = { scope: string; webhook: string; id: string };

/** Events on their way out. */
export class NoticeQueue<Notice extends NoticeJob> {
  readonly #queue: Queue<NoticeJob>;

  constructor(connection: Redis) {
    this.#queue = openQueue(queueName, connection);
  }

  /** Once for each round of one notice, as long as that job is there. */
  async add(notice: Notice, round: string): Promise<void> {
    const { scope, webhook, id } = notice;
    await this.#queue.add('send', { scope, webhook, id }, { jobId: `${scope}.${id}.${round}` });
  }

  async isEmpty(): Promise<boolean> {
    return (await this.#queue.getJobCountByTypes('waiting', 'active', 'delayed')) === 0;
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}

type NoticeWorkerOptions<Notice> = {
  connection: Redis;
  /** Returns in how many milliseconds it has to be tried again, if at all. */
  attempt: (notice: Notice) => Promise<number | undefined>;
  logger: Logger;
};

/** Sends what is due. What a process that died was sending is tried again by the next, and so is what waits. */
export class NoticeWorker<Notice extends NoticeJob> {
  readonly #options: NoticeWorkerOptions<Notice>;
  readonly #worker: Worker<NoticeJob>;

  constructor(options: NoticeWorkerOptions<Notice>) {
    this.#options = options;
    this.#worker = openWorker<NoticeJob>(
      queueName,
      async (job, token) => {
        const delay = await options.attempt(job.data as Notice);
        if (delay === undefined) return;
        await job.moveToDelayed(Date.now() + delay, token);
        throw new DelayedError();
      },
      { ...options, concurrency: atOnce },
    );
  }

  start(): void {
    startWorker(this.#worker, this.#options.logger);
  }

  /** What is being sent is given this long at most; it is sent again, with the same id, when that was too short. */
  async close(): Promise<void> {
    const closed = this.#worker.close().catch(() => {}); // the connection goes before it
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, 2000);
    });
    await Promise.race([closed, late]);
    clearTimeout(timer);
  }
}
