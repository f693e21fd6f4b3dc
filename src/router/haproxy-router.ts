import type { AppName } from '../domain/app.ts';
import type { Endpoint, Route } from '../domain/route.ts';
import type { Logger } from '../logger.ts';
import { drainSlot } from './drain-slot.ts';
import { checkConfig, findHaproxy } from './haproxy-binary.ts';
import { type HaproxySettings, haproxyPaths, portsOf, renderConfig, renderHosts } from './haproxy-config.ts';
import { HaproxyFiles, type Texts } from './haproxy-files.ts';
import { HaproxyProcess } from './haproxy-process.ts';
import type { RequestTimes, Responses } from './haproxy-replies.ts';
import { HaproxyRuntime, type SlotAddress } from './haproxy-runtime.ts';
import { HaproxyState, type State } from './haproxy-state.ts';
import { openFileLimit } from './open-file-limit.ts';
import { anyAddress, isPortFree, probePort } from './port-probe.ts';
import type { Router } from './router.ts';
import { requireUsableFolder } from './router-folder.ts';
import { type BusySlot, hostsOf, isStructural, planSlots, pointsTo, targetOf } from './slots.ts';
import { waitUntil } from './wait-until.ts';

export type HaproxyRouterOptions = {
  /** Ours alone. HAProxy's sockets are in it, so the path has to be short. */
  dir: string;
  /** Absent: a router of TCP ports, in whose routes the only host is the public port. */
  httpPort?: number;
  /** Default: every address of this machine. */
  bindAddress?: string;
  logger: Logger;
  haproxyBinary?: string;
  /** HAProxy is run by somebody else, from the files in `dir` and with our limit on open files; we never start or end it. */
  isExternal?: boolean;
};

/** Known once the router was started. */
type Started = { settings: HaproxySettings; binary: string };

const watchEveryMs = 1_000;
/** It is asked for everything it does only now and then: with many apps that is a long answer. */
const checkEvery = 10;

/** Routes to containers with an HAProxy of its own, which is left running when this object goes away. */
export class HaproxyRouter implements Router {
  readonly #options: HaproxyRouterOptions;
  readonly #runtime: HaproxyRuntime;
  readonly #process: HaproxyProcess;
  readonly #files: HaproxyFiles;
  readonly #state: HaproxyState;
  readonly #log: Logger;
  readonly #closed = new AbortController();
  /** Slots no route names any more, by name, being drained without anybody waiting for it. */
  readonly #forgotten = new Map<string, Promise<void>>();
  #started: Started | undefined;
  #routes: readonly Route[] | undefined;
  #queued: { routes: readonly Route[]; done: Promise<void> } | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #watch: NodeJS.Timeout | undefined;
  #looks = 0;

  constructor(options: HaproxyRouterOptions) {
    const paths = haproxyPaths(options.dir);
    this.#options = options;
    this.#runtime = new HaproxyRuntime(paths);
    this.#process = new HaproxyProcess(options.dir, this.#runtime, options.isExternal);
    this.#files = new HaproxyFiles(paths);
    this.#state = new HaproxyState(this.#runtime);
    this.#log = options.logger;
  }

  /** Starts HAProxy, or adopts the one an earlier controller left running. Throws one sentence when that is impossible. */
  async start(): Promise<void> {
    await this.#exclusive(() => this.#startOrAdopt());
    this.#watchOn();
  }

  apply(routes: readonly Route[]): Promise<void> {
    if (this.#queued) {
      // Routes are the whole truth, so of several that wait only the last matter; ten new apps are then one reload.
      this.#queued.routes = routes;
      return this.#queued.done;
    }
    const queued = { routes, done: Promise.resolve() };
    queued.done = this.#exclusive(async () => {
      this.#queued = undefined;
      await this.#follow(queued.routes);
    });
    this.#queued = queued;
    return queued.done;
  }

  /** Rejects when the endpoint is live, and when HAProxy does not answer at the limit: then nothing is known about it. */
  async drain(
    app: AppName,
    endpoint: Endpoint,
    limitMs: number,
    signal: AbortSignal,
  ): Promise<'idle' | 'cut'> {
    const target = targetOf(endpoint);
    const slots = this.#state.current.backends.get(app) ?? [];
    const index = slots.findIndex((slot) => slot.use !== 'free' && pointsTo(slot, target));
    return index === -1 ? 'idle' : this.#drain({ app, index }, limitMs, signal);
  }

  async responses(): Promise<Responses> {
    return this.#runtime.responses();
  }

  async requestTimes(): Promise<RequestTimes | undefined> {
    return this.#runtime.requestTimes();
  }

  failures(app: AppName): Promise<ReadonlyMap<number, number>> {
    return this.#runtime.failures(app);
  }

  /** Lets go of HAProxy, which serves on. */
  async close(): Promise<void> {
    this.#closed.abort(new Error('the router was closed'));
    clearTimeout(this.#watch);
    await Promise.allSettled(this.#forgotten.values());
    await this.#turn;
  }

  /** Ends HAProxy, and with it all traffic; also one that another controller has started. */
  async stop(): Promise<void> {
    await this.close();
    await this.#process.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #startOrAdopt(): Promise<void> {
    const { dir, httpPort } = this.#options;
    requireUsableFolder(dir);
    const binary = await findHaproxy(this.#options.haproxyBinary);
    const bindAddress = this.#options.bindAddress ?? (await anyAddress());
    const openFiles = await openFileLimit();
    const settings = { dir, bindAddress, openFiles, ...(httpPort !== undefined && { httpPort }) };
    const started = { binary, settings };
    await this.#files.prepare();
    const adopted = await this.#process.isRunning();
    await (adopted ? this.#adopt(started) : this.#startFromFiles(started));
    this.#started = started;
    this.#log.info({ port: httpPort, bindAddress }, adopted ? 'haproxy adopted' : 'haproxy started');
  }

  async #adopt(started: Started): Promise<void> {
    // Whatever killed the controller may have killed the supervisor too.
    await this.#process.start(started.binary);
    await this.#state.read();
    const { config } = this.#files.texts;
    if (config === render(started, this.#files.state).config) return;
    // Another version of us wrote it, or a setting has changed. A port that is taken must be found out before HAProxy
    // is told: it would stop all traffic to try for itself.
    const ports = portsOf(config);
    const { bindAddress, httpPort } = started.settings;
    if (httpPort !== undefined && ports.length > 0 && !ports.includes(httpPort))
      await probePort(bindAddress, httpPort);
    await this.#restructure(started, this.#state.current);
  }

  /** With the apps the files name, so that they answer again before anybody has told us the routes. */
  async #startFromFiles(started: Started): Promise<void> {
    const { bindAddress, httpPort } = started.settings;
    const { backends, hosts } = this.#files.state;
    if (httpPort !== undefined) await probePort(bindAddress, httpPort);
    const texts = render(started, { backends, hosts: await this.#bindable(started, hosts, new Map()) });
    await this.#files.write(texts);
    await checkConfig(started.binary, await this.#files.writeCandidate(texts.config));
    try {
      await this.#process.start(started.binary);
    } catch (error) {
      await this.#process.stop();
      throw error;
    }
    await this.#state.read();
  }

  async #follow(routes: readonly Route[]): Promise<void> {
    this.#closed.signal.throwIfAborted();
    const started = this.#requireStarted();
    const hosts = hostsOf(routes);
    try {
      await this.#converge(started, routes, hosts);
    } catch (error) {
      // HAProxy may have died and come back with what the files say: look again, and only the rest is left to do.
      this.#log.warn({ err: error }, 'routes were not applied, trying once more');
      this.#state.forget();
      await this.#converge(started, routes, hosts);
    }
    this.#routes = routes;
    this.#drainForgotten(routes);
  }

  async #converge(started: Started, routes: readonly Route[], hosts: State['hosts']): Promise<void> {
    await this.#synchronise(started);
    const { backends } = this.#state.current;
    const before = this.#state.current.hosts;
    const wanted = {
      backends: planSlots(backends, routes),
      hosts: await this.#bindable(started, hosts, before),
    };
    const isListening = isTcp(started) && !sameKeys(before, wanted.hosts);
    if (isListening || isStructural(backends, wanted.backends)) {
      await this.#restructure(started, wanted);
      return;
    }
    await this.#state.follow(wanted);
    await this.#files.write(render(started, this.#state.current));
    // Had it been restarted before the file was written, it would not follow these routes.
    if ((await this.#runtime.workerPid()) !== this.#state.worker) throw new Error('HAProxy was restarted');
  }

  /**
   * Of TCP ports those that can be listened on. One that somebody else has taken fails the whole reload; left out, it is
   * tried again with the next look at the routes.
   */
  async #bindable(started: Started, hosts: State['hosts'], bound: State['hosts']): Promise<State['hosts']> {
    if (!isTcp(started)) return hosts;
    const free = new Map<string, string>();
    for (const [port, app] of hosts) {
      const isFree = bound.has(port) || (await isPortFree(started.settings.bindAddress, Number(port)));
      if (isFree) free.set(port, app);
      else this.#log.error({ app, port }, 'the TCP port of the app is taken by another program');
    }
    return free;
  }

  /** Changes what only a reload can change. Everything else that is wanted comes with the same reload. */
  async #restructure(started: Started, wanted: State): Promise<void> {
    const before = this.#files.texts;
    const texts = render(started, wanted);
    await checkConfig(started.binary, await this.#files.writeCandidate(texts.config));
    try {
      await this.#files.write(texts);
      await this.#process.reload();
    } catch (error) {
      await this.#files.write(before);
      throw error;
    }
    await this.#state.read();
    this.#log.info({ apps: wanted.backends.size }, 'haproxy reloaded');
  }

  /** Makes memory right again if this is another HAProxy than the one it was read from; answers whether it is. */
  async #synchronise({ binary }: Started): Promise<boolean> {
    const worker = await waitUntil({ forMs: 200, everyMs: 20 }, () => this.#runtime.workerPid());
    if (worker !== undefined && worker === this.#state.worker) return false;
    if (worker === undefined) {
      await this.#files.restore();
      await this.#process.start(binary);
    }
    await this.#state.read();
    return true;
  }

  /** Gives an HAProxy that was restarted, by its supervisor or by nobody, the routes it should have. */
  async #catchUp(): Promise<void> {
    if (!(await this.#synchronise(this.#requireStarted()))) return;
    this.#log.warn({ pid: this.#state.worker }, 'haproxy was restarted');
    if (this.#routes) await this.#follow(this.#routes);
  }

  #watchOn(): void {
    if (this.#closed.signal.aborted) return;
    this.#watch = setTimeout(() => void this.#lookAfter().finally(() => this.#watchOn()), watchEveryMs);
    this.#watch.unref();
  }

  async #lookAfter(): Promise<void> {
    const looked = this.#exclusive(async () => {
      if (this.#closed.signal.aborted) return;
      await this.#process.trimLog();
      await this.#catchUp();
      this.#looks += 1;
      if (this.#looks % checkEvery === 0) await this.#check();
    });
    await looked.catch((error: unknown) =>
      this.#log.error({ err: error }, 'haproxy is not what it should be'),
    );
  }

  /** Somebody may have changed it, or its files, by hand. */
  async #check(): Promise<void> {
    await this.#files.restore();
    if (await this.#state.reread()) return;
    this.#log.warn('haproxy was changed by somebody else and is put right');
    if (this.#routes) await this.#follow(this.#routes);
  }

  #drainForgotten(routes: readonly Route[]): void {
    const awaited = new Map<string, Endpoint[]>(routes.map((route) => [route.app, [...route.draining]]));
    for (const [app, slots] of this.#state.current.backends) {
      for (const [index, slot] of slots.entries()) {
        if (slot.use !== 'draining') continue;
        const isAwaited = awaited.get(app)?.some((endpoint) => pointsTo(slot, targetOf(endpoint)));
        if (!isAwaited) this.#drainUnattended({ app, index });
      }
    }
  }

  #drainUnattended(at: SlotAddress): void {
    const name = `${at.app}/${at.index}`;
    if (this.#forgotten.has(name)) return;
    const drained = this.#drain(at, Number.POSITIVE_INFINITY, this.#closed.signal)
      .then(() => this.#log.debug(at, 'slot freed'))
      .catch((error: unknown) => this.#log.debug({ err: error, ...at }, 'drain ended early'))
      .finally(() => this.#forgotten.delete(name));
    this.#forgotten.set(name, drained);
  }

  /** Only its changes take turns with others: while it waits, routes can be applied. */
  #drain(at: SlotAddress, limitMs: number, signal: AbortSignal): Promise<'idle' | 'cut'> {
    return drainSlot({
      limitMs,
      signal: AbortSignal.any([signal, this.#closed.signal]),
      current: () => this.#state.slot(at),
      inFlight: () => this.#runtime.inFlight(at),
      cut: () => this.#exclusive(() => this.#runtime.shutDownSessions(at)),
      free: (drained) => this.#exclusive(() => this.#freeDrained(at, drained)),
    });
  }

  async #freeDrained(at: SlotAddress, drained: BusySlot): Promise<void> {
    await this.#catchUp();
    const slot = this.#state.slot(at);
    if (slot === undefined || slot.use === 'free' || !pointsTo(slot, drained)) return;
    if (slot.use === 'live') throw new Error(`${slot.address}:${slot.port} went live again while it drained`);
    await this.#state.free(at);
    await this.#files.write(render(this.#requireStarted(), this.#state.current));
  }

  #requireStarted(): Started {
    if (!this.#started) throw new Error('the router was not started');
    return this.#started;
  }

  /** One change at a time: a reload must not meet a swap half done. */
  #exclusive<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(change);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

function render({ settings }: Started, { backends, hosts }: State): Texts {
  return { config: renderConfig(settings, backends, hosts), hosts: renderHosts(hosts) };
}

function isTcp({ settings }: Started): boolean {
  return settings.httpPort === undefined;
}

function sameKeys(one: State['hosts'], other: State['hosts']): boolean {
  return one.size === other.size && [...one.keys()].every((key) => other.has(key));
}
