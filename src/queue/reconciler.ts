import { messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { DeployQueue } from './deploy-queue.ts';

/** Wakes every app that has something to do. Repairs whatever was lost between "asked for" and "woken". */
export class Reconciler {
  readonly #options: { deployments: DeploymentStore; queue: DeployQueue; everyMs: number; logger: Logger };
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: {
    deployments: DeploymentStore;
    queue: DeployQueue;
    everyMs: number;
    logger: Logger;
  }) {
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
    const { deployments, queue, logger } = this.#options;
    try {
      for (const app of await deployments.unsettled()) {
        await queue.repair(app);
        await queue.wake(app);
      }
    } catch (error) {
      logger.debug({ reason: messageOf(error) }, 'reconciling failed; Redis may be away');
    }
  }
}
