import { DelayedError, type Job, WaitingError, type Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Mended } from '../deploy/mend-instances.ts';
import { type AppName, parseAppName } from '../domain/app.ts';
import { isFinal } from '../domain/deployment.ts';
import type { LeaseStore } from '../store/lease-store.ts';
import type { StoreEvents } from '../store/store-events.ts';
import { AppLease, defaultLeaseTiming, type LeaseTiming } from './app-lease.ts';
import { type DeployQueue, queueName, type WakeJob } from './deploy-queue.ts';
import { type MendDeps, mendServing } from './mend-serving.ts';
import { openWorker, startWorker } from './open-worker.ts';
import { type RunResult, runDeployment } from './run-deployment.ts';

/** How often is looked whether an app that somebody works on is free again. */
const busyLookMs = 1000;

export type DeployWorkerOptions = {
  connection: Redis;
  concurrency: number;
  queue: DeployQueue;
  /** Throws when Redis is not the store any more. */
  assertOwnStore: () => Promise<void>;
  leases: LeaseStore;
  events: StoreEvents;
  deps: MendDeps;
  timing?: LeaseTiming;
  /** Called when a deployment of the app ended, for tidying that nobody waits for. */
  afterwards: (app: AppName) => Promise<void>;
};

/** Takes wake-ups from the queue; one wake-up runs one deployment, so that no app starves the others. */
export class DeployWorker {
  readonly #options: DeployWorkerOptions;
  readonly #worker: Worker<WakeJob>;
  readonly #leases = new Map<AppName, AppLease>();
  readonly #chores = new Set<Promise<void>>();
  readonly #stopListening: () => void;
  #closing = false;

  constructor(options: DeployWorkerOptions) {
    this.#options = options;
    this.#worker = openWorker<WakeJob>(queueName, (job, token) => this.#wakeUp(job, token), {
      ...options,
      logger: options.deps.logger,
    });
    this.#stopListening = options.events.listen((event) => {
      if (event.kind === 'stop') void this.#leases.get(event.app)?.renewNow();
    });
  }

  start(): void {
    startWorker(this.#worker, this.#options.deps.logger);
  }

  /** Deployments that have not switched go back to the queue; those past it finish. */
  async close(): Promise<void> {
    this.#stopListening();
    this.#closing = true;
    const closed = this.#worker.close();
    for (const lease of this.#leases.values()) lease.stop({ kind: 'shutdown' });
    await closed;
    await Promise.allSettled(this.#chores);
  }

  async #wakeUp(job: Job<WakeJob>, token: string | undefined): Promise<void> {
    const app = parseAppName(job.data.app);
    if (!app) return; // in the words of another version; whoever has something to do is woken again
    await this.#options.assertOwnStore();
    const result = await this.#withLease(app, (lease) => runDeployment(app, lease, this.#options.deps));
    if (typeof result === 'object') {
      // Somebody works on the app, or died doing so; who only mends what serves is done soon.
      const laterMs = Math.min(busyLookMs, Math.max(50, result.busyForMs)) + Math.random() * 200;
      await job.moveToDelayed(Date.now() + laterMs, token);
      throw new DelayedError();
    }
    if (result === 'handed back') {
      await job.moveToWait(token);
      throw new WaitingError();
    }
    await this.#goOn(app, result);
  }

  /** Makes what serves the app what it should be. `undefined`: somebody works on the app, or is to. */
  async mend(app: AppName): Promise<Mended | undefined> {
    const { deps } = this.#options;
    if (this.#closing) return undefined;
    const mended = await this.#withLease(app, (lease) => mendServing(app, lease, deps));
    return mended && 'busyForMs' in mended ? undefined : mended;
  }

  /** Runs what waits for the app beside all that is at work: of an app that is down nobody waits behind the builds of others. */
  async hurry(app: AppName): Promise<void> {
    const { deps, queue } = this.#options;
    const result = this.#closing
      ? 'handed back'
      : await this.#withLease(app, (lease) => runDeployment(app, lease, deps));
    if (typeof result === 'object' || result === 'handed back') await queue.wake(app);
    else await this.#goOn(app, result);
  }

  async #withLease<T>(
    app: AppName,
    work: (lease: AppLease) => Promise<T>,
  ): Promise<T | { busyForMs: number }> {
    const { leases, timing = defaultLeaseTiming } = this.#options;
    const lease = await AppLease.acquire(leases, app, timing);
    if (!(lease instanceof AppLease)) return lease;
    this.#leases.set(app, lease);
    try {
      return await work(lease);
    } finally {
      this.#leases.delete(app);
      await lease.release();
    }
  }

  async #goOn(app: AppName, result: RunResult): Promise<void> {
    const { deps, queue, afterwards } = this.#options;
    if (result === 'nothing to do') return;
    const next = await deps.deployments.desired(app);
    if (next && !isFinal(next.state)) await queue.wake(app);
    this.#inBackground(afterwards(app));
  }

  #inBackground(chore: Promise<void>): void {
    const guarded = chore
      .catch((err: unknown) =>
        this.#options.deps.logger.warn({ err }, 'tidying up failed; it is tried again later'),
      )
      .finally(() => this.#chores.delete(guarded));
    this.#chores.add(guarded);
  }
}
