import type { AppName } from '../domain/app.ts';
import type { Endpoint, Route } from '../domain/route.ts';
import { messageOf } from '../errors.ts';
import { Hints } from '../hints.ts';
import type { Logger } from '../logger.ts';
import type { RouteStore } from '../store/route-store.ts';
import type { StoreEvents } from '../store/store-events.ts';
import type { Router } from './router.ts';

/** Everything is looked at this often even without a hint; also how often the router says that it is alive. */
const lookEveryMs = 1500;

export type RouteAgentOptions = {
  /** Names this router among those that follow the same store. */
  id: string;
  router: Router;
  routes: RouteStore;
  events: StoreEvents;
  /** Throws when what was read of the store may not be true. */
  assertOwnStore: () => Promise<void>;
  hostsOf: (app: AppName) => readonly string[];
  drainTimeoutMs: number;
  /** Told how many requests failed while a release was replaced. */
  onSwapFailures: (requests: number) => void;
  logger: Logger;
};

/** From before a release is replaced until all of it is drained. */
type Swap = { failuresBefore: ReadonlyMap<number, number>; draining: number };

/** Carries the routes of the store to one router, and what the router did back to the store. */
export class RouteAgent {
  readonly #options: RouteAgentOptions;
  readonly #draining = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();
  readonly #swaps = new Map<AppName, Swap>();
  readonly #announced = new Map<AppName, number>();
  readonly #hints = new Hints();
  #loop: Promise<void> | undefined;

  constructor(options: RouteAgentOptions) {
    this.#options = options;
  }

  start(): void {
    const stopListening = this.#options.events.listen((event) => {
      if (event.kind === 'route') this.#hints.give();
    });
    this.#loop = this.#run().finally(stopListening);
  }

  /** Lets go of the router, which serves on. Drains that are under way are taken up by the next agent. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#hints.give();
    await this.#loop;
    await Promise.allSettled(this.#draining.values());
  }

  async #run(): Promise<void> {
    const { id, router, routes, assertOwnStore, hostsOf, logger } = this.#options;
    let trouble = '';
    while (!this.#stop.signal.aborted) {
      this.#hints.take();
      try {
        const wanted = await routes.all(hostsOf);
        await Promise.all([assertOwnStore(), this.#noteSwaps(wanted)]);
        await router.apply(wanted);
        await routes.acknowledge(id, wanted);
        const changed = wanted.filter((route) => this.#announced.get(route.app) !== route.version);
        await routes.announceApplied(changed);
        for (const route of changed) this.#announced.set(route.app, route.version);
        this.#drain(wanted);
        trouble = '';
      } catch (err) {
        const isNews = messageOf(err) !== trouble;
        trouble = messageOf(err);
        if (isNews && !this.#stop.signal.aborted) logger.error({ err }, 'routes could not be applied');
      }
      await this.#hints.next(lookEveryMs);
    }
  }

  async #noteSwaps(wanted: readonly Route[]): Promise<void> {
    for (const [app, { draining }] of this.#swaps) if (draining === 0) this.#swaps.delete(app);
    const begun = wanted.filter(({ app, draining }) => draining.length > 0 && !this.#swaps.has(app));
    await Promise.all(
      begun.map(async ({ app }) => {
        const failuresBefore = await this.#options.router.failures(app).catch(() => undefined);
        if (failuresBefore) this.#swaps.set(app, { failuresBefore, draining: 0 });
      }),
    );
  }

  async #endSwap(app: AppName, { failuresBefore }: Swap): Promise<void> {
    this.#swaps.delete(app);
    const after = await this.#options.router.failures(app).catch(() => failuresBefore);
    let failed = 0;
    for (const [process, count] of after) failed += Math.max(0, count - (failuresBefore.get(process) ?? 0));
    this.#options.onSwapFailures(failed);
  }

  #drain(wanted: readonly Route[]): void {
    for (const route of wanted) {
      const swap = this.#swaps.get(route.app);
      for (const endpoint of route.draining) {
        if (endpoint.isLetGoByRouter || this.#draining.has(endpoint.container)) continue;
        if (swap) swap.draining += 1;
        const draining = this.#drainOne(route.app, endpoint)
          .then(() => {
            if (swap) swap.draining -= 1;
            return swap?.draining === 0 ? this.#endSwap(route.app, swap) : undefined;
          })
          .finally(() => this.#draining.delete(endpoint.container));
        this.#draining.set(endpoint.container, draining);
      }
    }
  }

  async #drainOne(app: AppName, endpoint: Endpoint): Promise<void> {
    const { router, routes, drainTimeoutMs, logger } = this.#options;
    try {
      const how = await router.drain(app, endpoint, drainTimeoutMs, this.#stop.signal);
      await routes.forgetDrained(app, endpoint, 'router');
      logger.info({ app, release: endpoint.release, how }, 'release drained');
    } catch (error) {
      if (!this.#stop.signal.aborted)
        logger.warn({ app, reason: messageOf(error) }, 'drain will be tried again');
    }
  }
}
