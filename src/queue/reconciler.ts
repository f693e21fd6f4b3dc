import type { Measure } from '../domain/measurement.ts';
import { messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { LeaseStore } from '../store/lease-store.ts';
import type { TaskStore } from '../store/task-store.ts';
import type { DeployQueue } from './deploy-queue.ts';
import type { TaskQueue } from './task-queue.ts';

type ReconcilerOptions = {
  deployments: DeploymentStore;
  leases: LeaseStore;
  queue: DeployQueue;
  tasks: TaskStore;
  taskQueue: TaskQueue;
  /** Throws when Redis is not the store any more. */
  assertOwnStore: () => Promise<void>;
  measure: Measure;
  everyMs: number;
  logger: Logger;
};

/**
 * Wakes every app that has something to do, and every task that is not over. Repairs whatever was lost between "asked for" and
 * "woken".
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;
  #trouble = '';

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#once().finally(() => {
      if (!this.#stopped) this.#timer = setTimeout(() => this.start(), this.#options.everyMs);
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #once(): Promise<void> {
    const { deployments, leases, queue, tasks, taskQueue, assertOwnStore, measure, logger } = this.#options;
    try {
      await assertOwnStore();
      for (const app of await deployments.unsettled()) {
        await leases.look(app);
        if (await queue.repair(app))
          measure({ name: 'reconcile_actions_total', label: 'repair_queue', value: 1 });
        await queue.wake(app);
      }
      for (const { app, number } of await tasks.open()) await taskQueue.add(app, number);
      measure({ name: 'worker_heartbeat_timestamp_seconds', value: Date.now() / 1000 });
      this.#trouble = '';
    } catch (error) {
      const reason = messageOf(error);
      if (this.#trouble !== reason) logger.error({ reason }, 'nothing is reconciled; it is tried again');
      this.#trouble = reason;
    }
  }
}
