import { setTimeout as sleep } from 'node:timers/promises';
import type { DeployTools } from '../deploy/attempt.ts';
import { addressOf, isUp, type Mended } from '../deploy/mend-instances.ts';
import type { AppName } from '../domain/app.ts';
import type { ContainerState } from '../domain/container.ts';
import { Stopped } from '../domain/deployment.ts';
import { messageOf } from '../errors.ts';
import { Hints } from '../hints.ts';
import type { Logger } from '../logger.ts';
import type { RouteStore, StoredRoute } from '../store/route-store.ts';
import type { CrashWatch, Death } from './crash-watch.ts';

type Options = {
  engine: DeployTools['engine'];
  /** Label and value of every container of ours. */
  mark: string;
  storeTag: string;
  routes: RouteStore;
  /** Throws when what was read of the store may not be true. */
  assertOwnStore: () => Promise<void>;
  /** `undefined`: somebody works on the app, or is to. */
  mend: (app: AppName) => Promise<Mended | undefined>;
  /** A container of a route is somewhere else by now. */
  move: (app: AppName, container: string, address: string) => Promise<void>;
  crashes: CrashWatch;
  /** Runs what is to replace a release that crashed. */
  hurry: (app: AppName) => Promise<void>;
  /** How the containers are that serve an app of which one has just ended. */
  noteServing: (
    app: AppName,
    containers: readonly ContainerState[],
    deaths: ReadonlyMap<string, Death>,
  ) => Promise<void>;
  logger: Logger;
};

/** The engine says what happens; it cannot say so while it is away. */
const lookEveryMs = 5000;
const watchAgainMs = 1000;
/** Of a burst of news one look is enough. */
const restMs = 100;
/** Somebody may be restarting a container by hand. */
const staysDownMs = 2000;
const mendsAtOnce = 4;
const tryAgainMs = 5000;
const longestPauseMs = 300_000;

type Listed = Pick<ContainerState, 'id' | 'running' | 'isRestarting' | 'networks'>;

/** An app of which something does not serve that should. */
type Wrong = { since: number; tries: number; notBefore: number };

/** Sees what should serve and does not, within seconds, and has it started again. */
export class ServingKeeper {
  readonly #options: Options;
  readonly #stop = new AbortController();
  readonly #hints = new Hints();
  readonly #wrong = new Map<AppName, Wrong>();
  readonly #mending = new Map<AppName, Promise<void>>();
  /** How containers ended lately, and which of them since the last look. */
  readonly #deaths = new Map<string, Death>();
  #news = new Set<string>();
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: Options) {
    this.#options = options;
  }

  start(): void {
    this.#running = Promise.all([this.#run(), this.#watch()]);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#hints.give();
    await this.#running;
    await Promise.all(this.#mending.values());
  }

  /** What could not be mended while it went away is no reason to wait. */
  engineIsBack(): void {
    this.#wrong.clear();
    this.#hints.give();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let trouble = '';
    while (!signal.aborted) {
      this.#hints.take();
      let isSoon = false;
      try {
        isSoon = await this.#look();
        trouble = '';
      } catch (error) {
        const reason = messageOf(error);
        if (reason !== trouble) this.#options.logger.warn({ reason }, 'nobody sees whether all apps serve');
        trouble = reason;
      }
      await sleep(restMs, undefined, { signal }).catch(() => {});
      await this.#hints.next(isSoon ? staysDownMs / 4 : lookEveryMs);
    }
  }

  async #watch(): Promise<void> {
    const { engine, mark } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      // Should it break, the look says why.
      const hear = (container: string, exitCode?: number): void => {
        if (exitCode !== undefined) {
          this.#deaths.set(container, { exitCode, at: Date.now() });
          this.#news.add(container);
        }
        this.#hints.give();
      };
      await engine.watchContainers(mark, hear, signal).catch(() => {});
      await sleep(watchAgainMs, undefined, { signal }).catch(() => {});
    }
  }

  /** Answers whether to look again soon. The routes first: what they name may be gone by now, but who mends looks again. */
  async #look(): Promise<boolean> {
    const { engine, mark, routes, crashes, assertOwnStore } = this.#options;
    const news = this.#news;
    this.#news = new Set();
    const all = await routes.stored();
    const containers = new Map((await engine.listNames(mark)).map((container) => [container.id, container]));
    await assertOwnStore();
    const apps = new Set(all.map(({ app }) => app));
    for (const app of this.#wrong.keys()) if (!apps.has(app)) this.#wrong.delete(app);
    for (const id of this.#deaths.keys()) if (!containers.has(id)) this.#deaths.delete(id);
    crashes.forgetAllBut(apps);
    let isSoon = false;
    for (const route of all) {
      await this.#follow(route, containers);
      if (route.live.some(({ container }) => news.has(container))) await this.#tell(route);
      const crash = this.#mending.has(route.app) ? 'fine' : await crashes.look(route, this.#deaths);
      if (crash === 'asked') this.#begin(route.app, () => this.#options.hurry(route.app));
      if (crash === 'look again soon' || this.#judge(route, containers) === 'soon') isSoon = true;
    }
    return isSoon;
  }

  /** Somebody may have taken it out of its network and put it back. */
  async #follow({ app, live }: StoredRoute, containers: ReadonlyMap<string, Listed>): Promise<void> {
    for (const { container, address } of live) {
      const found = containers.get(container);
      const now = found?.running ? addressOf(found, this.#options.storeTag) : undefined;
      if (now && now !== address) await this.#options.move(app, container, now);
    }
  }

  #judge(route: StoredRoute, containers: ReadonlyMap<string, Listed>): 'soon' | undefined {
    const { app, live, paused, stopped, missing } = route;
    const found = live.map(({ container }) => containers.get(container));
    const isWhole = !missing && found.every((one) => one && isUp(one, this.#options.storeTag));
    if (isWhole || stopped || paused.length > 0) {
      this.#wrong.delete(app);
      return undefined;
    }
    const now = performance.now();
    const wrong = this.#wrong.get(app) ?? { since: now, tries: 0, notBefore: 0 };
    this.#wrong.set(app, wrong);
    const isGone = missing || found.includes(undefined);
    if (!isGone && now - wrong.since < staysDownMs) return 'soon';
    if (now < wrong.notBefore || this.#mending.has(app)) return undefined;
    if (this.#mending.size >= mendsAtOnce || this.#stop.signal.aborted) return 'soon';
    this.#begin(app, () => this.#mend(app, wrong));
    return undefined;
  }

  #begin(app: AppName, work: () => Promise<void>): void {
    const mending = work()
      .catch((err: unknown) => this.#options.logger.warn({ err, app }, 'what serves could not be replaced'))
      .finally(() => {
        this.#mending.delete(app);
        this.#hints.give();
      });
    this.#mending.set(app, mending);
  }

  async #tell({ app, live }: StoredRoute): Promise<void> {
    const { engine, noteServing } = this.#options;
    const found = await Promise.all(live.map(({ container }) => engine.inspect(container)));
    await noteServing(
      app,
      found.filter((state) => state !== undefined),
      this.#deaths,
    );
  }

  async #mend(app: AppName, wrong: Wrong): Promise<void> {
    let isDone = false;
    try {
      const mended = await this.#options.mend(app);
      isDone = mended !== undefined && mended.problem === undefined && mended.started > 0;
      if (mended?.problem) wrong.tries += 1;
    } catch (error) {
      wrong.tries += 1;
      if (!(error instanceof Stopped))
        this.#options.logger.warn({ app, reason: messageOf(error) }, 'what serves could not be mended');
    }
    if (isDone) this.#wrong.delete(app);
    else wrong.notBefore = performance.now() + Math.min(longestPauseMs, tryAgainMs * 2 ** wrong.tries);
  }
}
