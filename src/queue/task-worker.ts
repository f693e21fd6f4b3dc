import { randomUUID } from 'node:crypto';
import { type Job, WaitingError, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Attempt, DeployTools } from '../deploy/attempt.ts';
import { DeployLog } from '../deploy/deploy-log.ts';
import { runOneOff } from '../deploy/run-one-off.ts';
import { isHandedOn } from '../deploy/run-task.ts';
import type { AppName } from '../domain/app.ts';
import { parseAppSettings } from '../domain/app-settings.ts';
import { Stopped } from '../domain/deployment.ts';
import { maskValues } from '../domain/mask.ts';
import { safeText } from '../domain/safe-text.ts';
import type { Task, TaskEnd } from '../domain/task.ts';
import { messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import { keys } from '../store/keys.ts';
import type { LogWriter } from '../store/log-writer.ts';
import type { ReleaseStore } from '../store/release-store.ts';
import type { StoreEvents } from '../store/store-events.ts';
import type { TaskStore } from '../store/task-store.ts';
import { type TaskJob, taskQueueName } from './task-queue.ts';

/** Tasks wait for their commands and need little of this process. */
const atOnce = 16;
const lookEveryMs = 2000;

export type TaskWorkerOptions = {
  connection: Redis;
  tasks: TaskStore;
  apps: AppStore;
  deployments: DeploymentStore;
  releases: ReleaseStore;
  events: StoreEvents;
  tools: DeployTools;
  openLog: (task: Task, fence: string, mask: (text: string) => string) => LogWriter;
  logger: Logger;
};

/** Runs the one-off tasks of all apps. One whose worker dies is taken up by the next. */
export class TaskWorker {
  readonly #options: TaskWorkerOptions;
  readonly #worker: Worker<TaskJob>;
  readonly #running = new Map<string, AbortController>();
  readonly #stopListening: () => void;
  readonly #looking: NodeJS.Timeout;
  #closing = false;

  constructor(options: TaskWorkerOptions) {
    this.#options = options;
    this.#worker = new Worker<TaskJob>(taskQueueName, (job, token) => this.#take(job, token), {
      connection: options.connection,
      prefix: keys.bull,
      concurrency: atOnce,
      lockDuration: 15_000,
      stalledInterval: 5_000,
      maxStalledCount: 1000,
      autorun: false,
    });
    this.#worker.on('error', (err) => options.logger.debug({ reason: messageOf(err) }, 'queue trouble'));
    this.#stopListening = options.events.listen((event) => {
      if (event.kind === 'task') void this.#stopIfCancelled(event.app, event.number);
    });
    this.#looking = setInterval(() => {
      for (const name of this.#running.keys()) {
        const [app = '', number = ''] = name.split('.');
        void this.#stopIfCancelled(app as AppName, Number(number));
      }
    }, lookEveryMs);
  }

  start(): void {
    void this.#worker.run().catch((err: unknown) => {
      if (!this.#closing) this.#options.logger.error({ err }, 'the worker for tasks ended');
    });
  }

  /** The commands go on in their containers; another worker follows them. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#stopListening();
    clearInterval(this.#looking);
    const closed = this.#worker.close();
    for (const running of this.#running.values()) running.abort(new Stopped({ kind: 'shutdown' }));
    await closed;
  }

  async #take(job: Job<TaskJob>, token: string | undefined): Promise<void> {
    const { app, number } = job.data;
    const { tasks, logger } = this.#options;
    const fence = randomUUID();
    if (!(await tasks.claim(app, number, fence))) return;
    const task = await tasks.get(app, number);
    if (!task) return;
    const name = `${app}.${number}`;
    const stop = new AbortController();
    this.#running.set(name, stop);
    let end: TaskEnd;
    try {
      end = await this.#run(task, fence, stop.signal);
    } catch (error) {
      if (isHandedOn(stop.signal)) {
        await job.moveToWait(token);
        throw new WaitingError();
      }
      if (!stop.signal.aborted) logger.error({ err: error, app, task: number }, 'task broke');
      end = { reason: stop.signal.aborted ? 'cancelled' : safeText(messageOf(error), 150) };
    } finally {
      this.#running.delete(name);
    }
    await tasks.finish(app, number, fence, end);
    logger.info({ app, task: number, ...end }, 'task ended');
  }

  async #run(task: Task, fence: string, signal: AbortSignal): Promise<TaskEnd> {
    const { apps, deployments, releases, tasks, tools, openLog } = this.#options;
    const { app, number, command } = task;
    const live = (await apps.get(app))?.live;
    const release = live === undefined ? undefined : await releases.get(app, live);
    const deployment = live === undefined ? undefined : await deployments.get(app, live);
    if (!release || !deployment) return { reason: `${app} has no live release to run it in` };
    const appEnv = await apps.env(app);
    const parsed = parseAppSettings(appEnv);
    if ('problems' in parsed) return { reason: parsed.problems.join('; ') };

    const mask = maskValues(appEnv);
    const writer = openLog(task, fence, mask);
    const options = { ...(await apps.options(app)), instances: 1 };
    const attempt: Attempt = {
      deployment: { ...deployment, options },
      appId: await apps.id(app),
      settings: parsed.settings,
      tcpPort: undefined,
      appEnv,
      serving: live,
      log: new DeployLog((...lines) => writer.write(...lines)),
      signal,
      guard: () => signal.throwIfAborted(),
      mask,
      tools,
    };
    try {
      const stdin = await tasks.stdin(app, number);
      await this.#stopIfCancelled(app, number);
      return await runOneOff(attempt, release.image, { number, command, stdin });
    } finally {
      await writer.flush();
    }
  }

  async #stopIfCancelled(app: AppName, number: number): Promise<void> {
    const running = this.#running.get(`${app}.${number}`);
    if (!running) return;
    const task = await this.#options.tasks.get(app, number).catch(() => undefined);
    if (task?.state === 'CANCELING')
      running.abort(new Stopped({ kind: 'cancelled', reason: 'its end was asked for' }));
  }
}
