import { randomUUID } from 'node:crypto';
import { type Job, WaitingError, type Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Attempt, DeployTools } from '../deploy/attempt.ts';
import { DeployLog } from '../deploy/deploy-log.ts';
import { endInInstance, runInInstance } from '../deploy/run-in-instance.ts';
import { removeOneOff, runInTerminal, runOneOff } from '../deploy/run-one-off.ts';
import { isHandedOn } from '../deploy/run-task.ts';
import type { TerminalLink } from '../deploy/serve-terminal.ts';
import type { AppName } from '../domain/app.ts';
import { parseAppSettings, withOptions } from '../domain/app-settings.ts';
import { Stopped } from '../domain/deployment.ts';
import { maskValues } from '../domain/mask.ts';
import { safeText } from '../domain/safe-text.ts';
import { secretsOf } from '../domain/service-env.ts';
import type { Task, TaskEnd, TaskPlace } from '../domain/task.ts';
import type { TerminalWish } from '../domain/terminal.ts';
import { messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { LogWriter } from '../store/log-writer.ts';
import type { ReleaseStore } from '../store/release-store.ts';
import type { RouteStore } from '../store/route-store.ts';
import type { ServiceStore } from '../store/service-store.ts';
import type { StoreEvents } from '../store/store-events.ts';
import type { TaskStore } from '../store/task-store.ts';
import type { TerminalChannels } from '../store/terminal-channel.ts';
import { openWorker, startWorker } from './open-worker.ts';
import { type TaskJob, taskQueueName } from './task-queue.ts';

/** Tasks wait for their commands and need little of this process. */
const atOnce = 16;
const lookEveryMs = 2000;

export type TaskWorkerOptions = {
  connection: Redis;
  /** Throws when Redis is not the store any more. */
  assertOwnStore: () => Promise<void>;
  tasks: TaskStore;
  apps: AppStore;
  deployments: DeploymentStore;
  releases: ReleaseStore;
  routes: RouteStore;
  services: ServiceStore;
  hosts: (app: AppName) => Promise<string[]>;
  events: StoreEvents;
  tools: DeployTools;
  terminals: TerminalChannels;
  /** How long nothing may be heard of the person at a terminal. */
  terminalGraceMs: number;
  openLog: (task: Task, fence: string, mask: (text: string) => string) => LogWriter;
  logger: Logger;
};

/** Runs the one-off tasks of all apps. One whose worker dies is taken up by the next, unless it has a terminal. */
export class TaskWorker {
  readonly #options: TaskWorkerOptions;
  readonly #worker: Worker<TaskJob>;
  readonly #running = new Map<string, AbortController>();
  readonly #stopListening: () => void;
  readonly #looking: NodeJS.Timeout;
  #closing = false;

  constructor(options: TaskWorkerOptions) {
    this.#options = options;
    this.#worker = openWorker<TaskJob>(taskQueueName, (job, token) => this.#take(job, token), {
      ...options,
      concurrency: atOnce,
    });
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
    startWorker(this.#worker, this.#options.logger);
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
    const { tasks, assertOwnStore, logger } = this.#options;
    await assertOwnStore();
    const fence = randomUUID();
    const claim = await tasks.claim(app, number, fence);
    if (claim === 'over') return;
    const task = await tasks.get(app, number);
    if (!task) return;
    const name = `${app}.${number}`;
    const stop = new AbortController();
    this.#running.set(name, stop);
    if (this.#closing) stop.abort(new Stopped({ kind: 'shutdown' }));
    let end: TaskEnd;
    try {
      end =
        task.terminal && claim === 'again'
          ? await this.#giveUp(task)
          : task.place && task.terminal
            ? await this.#visit(task, task.place, task.terminal, stop.signal)
            : await this.#run(task, fence, stop.signal);
    } catch (error) {
      if (isHandedOn(stop.signal) && !task.terminal) {
        await job.moveToWait(token);
        throw new WaitingError();
      }
      if (!stop.signal.aborted) logger.error({ err: error, app, task: number }, 'task broke');
      end = { reason: reasonOf(error, stop.signal) };
    } finally {
      this.#running.delete(name);
    }
    await tasks.finish(app, number, fence, end);
    logger.info({ app, task: number, ...end }, 'task ended');
  }

  async #run(task: Task, fence: string, signal: AbortSignal): Promise<TaskEnd> {
    const { apps, deployments, releases, services, hosts, tasks, tools, openLog } = this.#options;
    const { app, number } = task;
    const live = (await apps.get(app))?.live;
    const release = live === undefined ? undefined : await releases.get(app, live);
    const deployment = live === undefined ? undefined : await deployments.get(app, live);
    if (!release || !deployment) return { reason: `${app} has no live release to run it in` };
    const appEnv = await apps.env(app);
    const parsed = parseAppSettings(appEnv);
    if ('problems' in parsed) return { reason: parsed.problems.join('; ') };

    const bound = await services.boundTo(app);
    const mask = maskValues({ ...appEnv, ...secretsOf(bound) });
    const writer = openLog(task, fence, mask);
    const { memoryBytes } = task;
    const options = {
      ...(await apps.options(app)),
      instances: 1,
      ...(memoryBytes !== undefined && { memoryBytes }),
    };
    const attempt: Attempt = {
      deployment: { ...deployment, options },
      appId: await apps.id(app),
      settings: withOptions(parsed.settings, options, deployment.pull !== undefined),
      tcpPort: undefined,
      appEnv,
      services: bound,
      hosts: await hosts(app),
      serving: live,
      log: new DeployLog((...lines) => writer.write(...lines)),
      signal,
      guard: () => signal.throwIfAborted(),
      assertOwned: () => signal.throwIfAborted(),
      mask,
      tools,
    };
    try {
      const stdin = await tasks.stdin(app, number);
      await this.#stopIfCancelled(app, number);
      if (!task.terminal) return await runOneOff(attempt, release.image, { ...task, stdin });
      await attempt.log.detail(`the task has a terminal of ${task.by}; what that shows is not kept`);
      return await runInTerminal(attempt, release.image, { ...task, stdin }, this.#linkTo(task.terminal.id));
    } finally {
      await writer.flush();
    }
  }

  /** Of what somebody does in a container that serves nothing is kept but that they did. */
  async #visit(task: Task, place: TaskPlace, terminal: TerminalWish, signal: AbortSignal): Promise<TaskEnd> {
    const { routes, tools } = this.#options;
    const { app, number, command } = task;
    const serving = (await routes.get(app))?.live ?? [];
    await this.#stopIfCancelled(app, number);
    const visit = { app, command, place, terminal };
    return runInInstance(tools, visit, serving, this.#linkTo(terminal.id), signal);
  }

  /** An interactive command whose worker is gone. */
  async #giveUp({ app, number, state, place, terminal }: Task): Promise<TaskEnd> {
    if (place && terminal) await endInInstance(this.#options.tools, app, terminal.id);
    else await removeOneOff(this.#options.tools, app, number);
    return {
      reason:
        state === 'CANCELING' ? 'cancelled' : 'its worker was lost; a terminal cannot be taken up again',
    };
  }

  #linkTo(id: string): TerminalLink {
    const { terminals, terminalGraceMs } = this.#options;
    return {
      say: (message) => terminals.say(id, 'command', message),
      listen: (hear) => terminals.listen(id, 'person', hear),
      graceMs: terminalGraceMs,
    };
  }

  async #stopIfCancelled(app: AppName, number: number): Promise<void> {
    const running = this.#running.get(`${app}.${number}`);
    if (!running) return;
    const task = await this.#options.tasks.get(app, number).catch(() => undefined);
    if (task?.state === 'CANCELING')
      running.abort(new Stopped({ kind: 'cancelled', reason: 'its end was asked for' }));
  }
}

function reasonOf(error: unknown, signal: AbortSignal): string {
  if (!signal.aborted) return safeText(messageOf(error), 150);
  return isHandedOn(signal) ? 'Gantry was stopped; a terminal cannot be taken up again' : 'cancelled';
}
