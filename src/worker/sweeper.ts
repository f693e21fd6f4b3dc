import { Coalesced } from '../coalesced.ts';
import { type Config, dataPaths } from '../config.ts';
import {
  type SweepFacts,
  sweepCheckouts,
  sweepContainers,
  sweepImages,
  sweepNetworks,
  sweepVolumes,
} from '../deploy/sweep.ts';
import type { DockerodeEngine } from '../docker/dockerode-engine.ts';
import type { AppName } from '../domain/app.ts';
import type { Measure } from '../domain/measurement.ts';
import type { Logger } from '../logger.ts';
import type { CronSchedule } from '../queue/cron-schedule.ts';
import type { StoreEvents } from '../store/store-events.ts';
import { imageSpace } from './deploy-tools.ts';
import type { WorkerStores } from './stores.ts';

const sweepEveryMs = 30_000;

type Parts = {
  config: Config;
  engine: DockerodeEngine;
  storeId: string;
  stores: WorkerStores;
  events: StoreEvents;
  cron: CronSchedule;
  noteServing: SweepFacts['noteServing'];
  measure: Measure;
  logger: Logger;
};

/**
 * Tidies: an app when something of it has drained or a deployment of it has ended, and all of them now and again. To look at
 * all of them each time would keep the engine busy on a server that has many.
 */
export class Sweeper {
  readonly #parts: Parts;
  readonly #facts: SweepFacts;
  /** Apps whose images were not tidied: the engine was away, or the worker died before it came to that. */
  readonly #untidy = new Set<AppName>();
  readonly #sweeps = new Coalesced(() => this.#sweepDue());
  #areAllDue = false;
  readonly #due = new Set<AppName>();
  #stopAsking = (): void => {};

  constructor(parts: Parts) {
    this.#parts = parts;
    const { config, engine, storeId, stores, noteServing, measure } = parts;
    const { apps, deployments, releases, routes, tasks, volumes } = stores;
    this.#facts = {
      engine,
      storeId,
      assertOwnStore: stores.assertOwnStore,
      route: (app) => routes.get(app),
      deployment: (app, number) => deployments.get(app, number),
      task: (app, number) => tasks.get(app, number),
      releases: (app) => releases.numbers(app),
      keepReleases: config.keepReleases,
      markFreed: (app, number) => releases.markFreed(app, number),
      forgetRelease: (app, number) => releases.forget(app, number),
      desired: (app) => deployments.desired(app),
      options: (app) => apps.options(app),
      doomedVolumes: () => volumes.doomed(),
      forgetVolume: (app, volume) => volumes.forget(app, volume),
      noteServing,
      onAction: (action) => measure({ name: 'reconcile_actions_total', label: action, value: 1 }),
      storeTag: storeId.slice(0, 6),
      stopTimeoutMs: config.stopTimeoutMs,
      workDir: dataPaths(config.dataDir).work,
    };
  }

  async start(): Promise<void> {
    const { events, stores } = this.#parts;
    for (const { name } of await stores.apps.list()) this.#untidy.add(name);
    const stopListening = events.listen((event) => {
      if (event.kind === 'drained') void this.#sweepSoon(event.app);
    });
    const timer = setInterval(() => this.sweep(), sweepEveryMs);
    this.#stopAsking = () => {
      clearInterval(timer);
      stopListening();
    };
  }

  /** Ends only when the last sweep has. */
  async stop(): Promise<void> {
    this.#stopAsking();
    await this.#sweeps.settled();
  }

  sweep(): void {
    this.#areAllDue = true;
    void this.#sweeps.run();
  }

  /** Also the images and timed tasks of an app of which a deployment has ended. Resolves when all of it is done. */
  async sweepAfter(app: AppName): Promise<void> {
    this.#untidy.add(app);
    await this.#sweepSoon(app);
  }

  #sweepSoon(app: AppName): Promise<void> {
    this.#due.add(app);
    return this.#sweeps.run();
  }

  async #sweepDue(): Promise<void> {
    const due = this.#areAllDue ? [undefined] : [...this.#due];
    this.#areAllDue = false;
    this.#due.clear();
    await this.#measureRoom();
    await Promise.all(due.map((app) => this.#sweep(app)));
  }

  /** Of one app, or of all of them. */
  async #sweep(app: AppName | undefined): Promise<void> {
    const { logger } = this.#parts;
    const facts = this.#facts;
    try {
      // On a disk that is read-only nothing goes, but what is on the engine does.
      await sweepCheckouts(facts, app).catch((err: unknown) => logger.debug({ err }, 'checkouts stay'));
      await sweepContainers(facts, app);
      await sweepVolumes(facts, app);
      await sweepNetworks(facts, app);
      const untidy = [...this.#untidy].filter((name) => app === undefined || name === app);
      await Promise.all(untidy.map((name) => this.#tidy(name)));
    } catch (err) {
      logger.debug({ err }, 'sweep failed');
    }
  }

  async #measureRoom(): Promise<void> {
    const { engine, measure } = this.#parts;
    const images = await imageSpace(engine);
    if (images) measure({ name: 'disk_free_bytes', label: 'images', value: images.bytes });
  }

  async #tidy(app: AppName): Promise<void> {
    const { cron, stores, logger } = this.#parts;
    const { isDone } = await sweepImages(this.#facts, app);
    const live = (await stores.apps.get(app))?.live;
    const release = live === undefined ? undefined : await stores.releases.get(app, live);
    await cron.match(app, release?.cron ?? []);
    if (!isDone) return;
    this.#untidy.delete(app);
    logger.debug({ app }, 'images are tidied');
  }

  /** The releases whose images went. */
  async freeImages(app: AppName): Promise<readonly number[]> {
    return (await sweepImages(this.#facts, app)).freed;
  }
}
