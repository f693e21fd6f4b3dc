import { DelayedError, type Job, WaitingError, type Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import type { LeaseStore } from '../store/lease-store.ts';
import type { StoreEvents } from '../store/store-events.ts';
import { AppLease, defaultLeaseTiming, type LeaseTiming } from './app-lease.ts';
import { type DeployQueue, queueName, type WakeJob } from './deploy-queue.ts';
import { openWorker, startWorker } from './open-worker.ts';
import { type RunDeps, runDeployment } from './run-deployment.ts';

export type DeployWorkerOptions = {
  connection: Redis;
  concurrency: number;
  queue: DeployQueue;
  leases: LeaseStore;
  events: StoreEvents;
  deps: RunDeps;
  timing?: LeaseTiming;
  /** Called when a deployment of the app ended, for tidying that nobody waits for. */
  afterwards: (app: AppName, fence: number) => Promise<void>;
};

/** Takes wake-ups from the queue; one wake-up runs one deployment, so that no app starves the others. */
export class DeployWorker {
  readonly #options: DeployWorkerOptions;
  readonly #worker: Worker<WakeJob>;
  readonly #leases = new Map<AppName, AppLease>();
  readonly #chores = new Set<Promise<void>>();
  readonly #stopListening: () => void;

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
    const closed = this.#worker.close();
    for (const lease of this.#leases.values()) lease.stop({ kind: 'shutdown' });
    await closed;
    await Promise.allSettled(this.#chores);
  }

  async #wakeUp(job: Job<WakeJob>, token: string | undefined): Promise<void> {
    const { app } = job.data;
    const { leases, deps, queue } = this.#options;
    const timing = this.#options.timing ?? defaultLeaseTiming;
    const lease = await AppLease.acquire(leases, app, timing);
    if (!(lease instanceof AppLease)) {
      // Somebody works on the app, or died doing so; look again when that time is over.
      await job.moveToDelayed(Date.now() + Math.max(50, lease.busyForMs) + Math.random() * 200, token);
      throw new DelayedError();
    }
    this.#leases.set(app, lease);
    let result: Awaited<ReturnType<typeof runDeployment>>;
    try {
      result = await runDeployment(app, lease, deps);
    } finally {
      this.#leases.delete(app);
      await lease.release();
    }
    if (result === 'handed back') {
      await job.moveToWait(token);
      throw new WaitingError();
    }
    if (result !== 'nothing to do') {
      const next = await deps.deployments.desired(app);
      if (next && (next.state === 'queued' || next.state === 'running')) await queue.wake(app);
      this.#inBackground(this.#options.afterwards(app, lease.fence));
    }
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
