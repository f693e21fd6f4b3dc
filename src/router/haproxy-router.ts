import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AppName } from '../domain/app.ts';
import type { Endpoint, Route } from '../domain/route.ts';
import type { Logger } from '../logger.ts';
import { writeAtomically } from './atomic-file.ts';
import { drainSlot } from './drain-slot.ts';
import { checkConfig, findHaproxy } from './haproxy-binary.ts';
import {
  type HaproxyPaths,
  type HaproxySettings,
  haproxyPaths,
  readBackends,
  readHosts,
  renderConfig,
  renderHosts,
} from './haproxy-config.ts';
import { HaproxyProcess } from './haproxy-process.ts';
import { HaproxyRuntime, type SlotAddress } from './haproxy-runtime.ts';
import { openFileLimit } from './open-file-limit.ts';
import { pageFiles } from './pages.ts';
import { anyAddress, probePort } from './port-probe.ts';
import type { Router } from './router.ts';
import {
  type Backends,
  type BusySlot,
  freeTarget,
  type Hosts,
  hostsOf,
  isStructural,
  planSlots,
  pointsTo,
  replaceSlot,
  type Slot,
  targetOf,
} from './slots.ts';
import { waitUntil } from './wait-until.ts';

export type HaproxyRouterOptions = {
  /** Ours alone. HAProxy's sockets are in it, so the path has to be short. */
  dir: string;
  httpPort: number;
  /** Default: every address of this machine. */
  bindAddress?: string;
  logger: Logger;
  haproxyBinary?: string;
};

/** What HAProxy does, as last read from it or told to it. */
type State = { backends: Backends; hosts: Hosts };

/** Known once HAProxy runs. `worker` is the one the state was read from. */
type Running = { worker: number; settings: HaproxySettings; binary: string };

const watchEveryMs = 1_000;

/** Routes to containers with an HAProxy of its own, which is left running when this object goes away. */
export class HaproxyRouter implements Router {
  readonly #options: HaproxyRouterOptions;
  readonly #paths: HaproxyPaths;
  readonly #runtime: HaproxyRuntime;
  readonly #process: HaproxyProcess;
  readonly #log: Logger;
  readonly #closed = new AbortController();
  /** Endpoints no route names any more, being drained without anybody waiting for it. */
  readonly #background = new Map<string, Promise<void>>();
  #running: Running | undefined;
  #state: State = { backends: new Map(), hosts: new Map() };
  #written: { config: string; hosts: string } = { config: '', hosts: '' };
  #routes: readonly Route[] | undefined;
  #queued: { routes: readonly Route[]; done: Promise<void> } | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #watch: NodeJS.Timeout | undefined;

  constructor(options: HaproxyRouterOptions) {
    this.#options = options;
    this.#paths = haproxyPaths(options.dir);
    this.#runtime = new HaproxyRuntime(this.#paths);
    this.#process = new HaproxyProcess(options.dir, this.#runtime);
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
      await this.#applyNow(queued.routes);
    });
    this.#queued = queued;
    return queued.done;
  }

  async drain(
    app: AppName,
    endpoint: Endpoint,
    limitMs: number,
    signal: AbortSignal,
  ): Promise<'idle' | 'cut'> {
    const target = targetOf(endpoint);
    const found = this.#state.backends
      .get(app)
      ?.findIndex((slot) => slot.use !== 'free' && pointsTo(slot, target));
    if (found === undefined || found === -1) return 'idle';
    return this.#drain({ app, index: found }, limitMs, AbortSignal.any([signal, this.#closed.signal]));
  }

  /** Lets go of HAProxy, which serves on. */
  async close(): Promise<void> {
    this.#closed.abort(new Error('the router was closed'));
    clearTimeout(this.#watch);
    await Promise.allSettled(this.#background.values());
    await this.#turn;
  }

  /** Ends HAProxy, and with it all traffic. */
  async stop(): Promise<void> {
    await this.close();
    await this.#process.stop();
    this.#running = undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #startOrAdopt(): Promise<void> {
    const { dir, httpPort } = this.#options;
    requireUsablePath(dir);
    const binary = await findHaproxy(this.#options.haproxyBinary);

    const bindAddress = this.#options.bindAddress ?? (await anyAddress());
    const settings = { dir, httpPort, bindAddress, openFiles: await openFileLimit() };
    await mkdir(this.#paths.pages, { recursive: true, mode: 0o700 });
    for (const [name, text] of pageFiles()) await writeAtomically(join(this.#paths.pages, name), text);
    this.#written = {
      config: await readFile(this.#paths.config, 'utf8').catch(() => ''),
      hosts: await readFile(this.#paths.hosts, 'utf8').catch(() => ''),
    };
    const adopted = await this.#process.isRunning();
    this.#running = { worker: 0, settings, binary };
    if (adopted) await this.#adopt(this.#running);
    else await this.#startFromDisk(this.#running);
    this.#log.info({ adopted, port: httpPort, bindAddress }, adopted ? 'haproxy adopted' : 'haproxy started');
  }

  async #adopt(running: Running): Promise<void> {
    // Whatever killed the controller may have killed the supervisor too.
    await this.#process.start(running.binary);
    await this.#readState(running);
    const config = renderConfig(running.settings, this.#state.backends);
    if (config === this.#written.config) return;
    // A port that is taken must be found out before HAProxy is: it would stop all traffic to try for itself.
    const ports = portsOf(this.#written.config);
    if (ports.length > 0 && !ports.includes(running.settings.httpPort)) {
      await probePort(running.settings.bindAddress, running.settings.httpPort);
    }
    await this.#restructure(running, this.#state);
  }

  /** With what the file says, so that the apps answer again before anybody has told us the routes. */
  async #startFromDisk(running: Running): Promise<void> {
    await probePort(running.settings.bindAddress, running.settings.httpPort);
    this.#state = { backends: readBackends(this.#written.config), hosts: readHosts(this.#written.hosts) };
    await this.#write(running, this.#state);
    await checkConfig(running.binary, this.#paths.config);
    try {
      await this.#process.start(running.binary);
    } catch (error) {
      await this.#process.stop();
      throw error;
    }
    await this.#readState(running);
  }

  async #applyNow(routes: readonly Route[]): Promise<void> {
    const hosts = hostsOf(routes);
    const running = this.#requireRunning();
    try {
      await this.#converge(running, routes, hosts);
    } catch (error) {
      // HAProxy may have died and come back, with the state of the file: look again, then it is a matter of the rest.
      this.#log.warn({ err: error }, 'routes were not applied, trying once more');
      running.worker = 0;
      await this.#converge(running, routes, hosts);
    }
    this.#routes = routes;
    this.#drainForgotten(routes);
  }

  async #converge(running: Running, routes: readonly Route[], hosts: Hosts): Promise<void> {
    await this.#synchronise(running);
    const wanted = { backends: planSlots(this.#state.backends, routes), hosts };
    if (isStructural(this.#state.backends, wanted.backends)) {
      await this.#restructure(running, wanted);
      return;
    }
    await this.#switchSlots(wanted.backends, 'live');
    await this.#switchHosts(wanted.hosts);
    await this.#switchSlots(wanted.backends, 'draining');
    await this.#write(running, this.#state);
  }

  /** Changes what only a reload can change. The routes are switched by the same reload. */
  async #restructure(running: Running, wanted: State): Promise<void> {
    const before = { ...this.#written };
    const candidate = `${this.#paths.config}.candidate`;
    await writeAtomically(candidate, renderConfig(running.settings, wanted.backends));
    await checkConfig(running.binary, candidate);
    try {
      await this.#write(running, wanted);
      await this.#process.reload();
    } catch (error) {
      await this.#writeTexts(before.config, before.hosts);
      throw error;
    }
    await this.#readState(running);
    this.#log.info({ apps: wanted.backends.size }, 'haproxy reloaded');
  }

  /** The two halves of a swap, at run time: first everything new goes live, then everything old drains. */
  async #switchSlots(wanted: Backends, use: 'live' | 'draining'): Promise<void> {
    for (const [app, slots] of wanted) {
      for (const [index, slot] of slots.entries()) {
        const now = this.#state.backends.get(app)?.[index];
        if (slot.use === use && slot !== now) await this.#switchSlot({ app, index }, slot);
      }
    }
  }

  async #switchSlot(at: SlotAddress, slot: BusySlot): Promise<void> {
    if (slot.use === 'live') await this.#runtime.point(at, slot);
    await this.#runtime.setState(at, slot.use === 'live' ? 'ready' : 'drain');
    await this.#confirm(at, slot);
    this.#log.debug({ app: at.app, slot: at.index, ...slot }, 'slot switched');
  }

  async #freeSlot(at: SlotAddress): Promise<void> {
    // Maintenance also closes the idle connections to the container.
    await this.#runtime.setState(at, 'maint');
    await this.#runtime.point(at, freeTarget);
    await this.#confirm(at, { use: 'free' });
  }

  /** Commands report little; what counts is the state afterwards. */
  async #confirm(at: SlotAddress, wanted: Slot): Promise<void> {
    const actual = (await this.#runtime.backend(at.app)).get(at.app)?.[at.index];
    const isSame =
      actual?.use === wanted.use &&
      (actual.use === 'free' || wanted.use === 'free' || pointsTo(actual, wanted));
    if (!isSame) {
      throw new Error(
        `HAProxy has ${JSON.stringify(actual)} in slot ${at.index} of ${at.app}, not ${JSON.stringify(wanted)}`,
      );
    }
    this.#state = { ...this.#state, backends: replaceSlot(this.#state.backends, at.app, at.index, wanted) };
  }

  async #switchHosts(wanted: Hosts): Promise<void> {
    const current = this.#state.hosts;
    for (const [host, app] of wanted) {
      if (!current.has(host)) await this.#runtime.addHost(host, app);
      else if (current.get(host) !== app) await this.#runtime.setHost(host, app);
    }
    for (const host of current.keys()) {
      if (!wanted.has(host)) await this.#runtime.removeHost(host);
    }
    this.#state = { ...this.#state, hosts: wanted };
  }

  async #write(running: Running, { backends, hosts }: State): Promise<void> {
    await this.#writeTexts(renderConfig(running.settings, backends), renderHosts(hosts));
  }

  async #writeTexts(config: string, hosts: string): Promise<void> {
    if (hosts !== this.#written.hosts || hosts === '') await writeAtomically(this.#paths.hosts, hosts);
    if (config !== this.#written.config) await writeAtomically(this.#paths.config, config);
    this.#written = { config, hosts };
  }

  /** Memory is right as long as it is the same worker; one that was started meanwhile has what the file says. */
  async #synchronise(running: Running): Promise<void> {
    const worker = await waitUntil({ forMs: 200, everyMs: 20 }, () => this.#runtime.workerPid());
    if (worker !== undefined && worker === running.worker) return;
    if (worker === undefined) await this.#process.start(running.binary);
    await this.#readState(running);
  }

  async #readState(running: Running): Promise<void> {
    const worker = await this.#runtime.workerPid();
    this.#state = { backends: await this.#runtime.backends(), hosts: await this.#runtime.hosts() };
    running.worker = worker;
  }

  /** Every second: an HAProxy that was restarted, by its supervisor or by nobody, gets the routes it should have. */
  #watchOn(): void {
    if (this.#closed.signal.aborted) return;
    this.#watch = setTimeout(() => void this.#lookAfter().finally(() => this.#watchOn()), watchEveryMs);
    this.#watch.unref();
  }

  async #lookAfter(): Promise<void> {
    await this.#exclusive(async () => {
      const running = this.#requireRunning();
      const known = running.worker;
      await this.#process.trimLog();
      await this.#synchronise(running);
      if (running.worker === known) return;
      this.#log.warn({ pid: running.worker }, 'haproxy was restarted by somebody else');
      if (this.#routes) await this.#applyNow(this.#routes);
    }).catch((error: unknown) => this.#log.error({ err: error }, 'haproxy does not answer'));
  }

  #drainForgotten(routes: readonly Route[]): void {
    const awaited = new Map(routes.map((route) => [route.app as string, route.draining.map(targetOf)]));
    for (const [app, slots] of this.#state.backends) {
      for (const [index, slot] of slots.entries()) {
        if (slot.use !== 'draining') continue;
        if (awaited.get(app)?.some((target) => pointsTo(slot, target))) continue;
        this.#drainInBackground({ app, index });
      }
    }
  }

  #drainInBackground(at: SlotAddress): void {
    const key = `${at.app}/${at.index}`;
    if (this.#background.has(key)) return;
    const drained = this.#drain(at, Number.POSITIVE_INFINITY, this.#closed.signal)
      .then(() => this.#log.debug({ app: at.app, slot: at.index }, 'slot freed'))
      .catch((error: unknown) => {
        if (!this.#closed.signal.aborted) this.#log.debug({ err: error, app: at.app }, 'drain ended early');
      })
      .finally(() => this.#background.delete(key));
    this.#background.set(key, drained);
  }

  #drain(at: SlotAddress, limitMs: number, signal: AbortSignal): Promise<'idle' | 'cut'> {
    return drainSlot({
      limitMs,
      signal,
      current: () => this.#state.backends.get(at.app)?.[at.index],
      inFlight: () => this.#runtime.inFlight(at),
      cut: () => this.#exclusive(() => this.#runtime.shutDownSessions(at)),
      free: (slot) => this.#exclusive(() => this.#freeDrained(at, slot)),
    });
  }

  async #freeDrained(at: SlotAddress, drained: BusySlot): Promise<void> {
    const running = this.#requireRunning();
    await this.#synchronise(running);
    const slot = this.#state.backends.get(at.app)?.[at.index];
    if (slot === undefined || slot.use === 'free' || !pointsTo(slot, drained)) return;
    if (slot.use === 'live') throw new Error(`${slot.address}:${slot.port} went live again while it drained`);
    await this.#freeSlot(at);
    await this.#write(running, this.#state);
  }

  #requireRunning(): Running {
    if (!this.#running) throw new Error('the router was not started');
    return this.#running;
  }

  /** One change at a time: a reload must not meet a swap half done. */
  #exclusive<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(change);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

/** Where a configuration listens for visitors. */
function portsOf(config: string): number[] {
  return [...config.matchAll(/^ {2}bind (?!unix@).*:(\d+)(?: v6only)?$/gm)].map((match) => Number(match[1]));
}

/** HAProxy's limit for the path of a unix socket, and characters that mean something in its files. */
function requireUsablePath(dir: string): void {
  const socket = haproxyPaths(dir).handoff;
  if (socket.length > 97) {
    throw new Error(
      `the router folder ${dir} is too long for unix sockets; use one of at most ${97 - (socket.length - dir.length)} characters`,
    );
  }
  if (!/^\/[A-Za-z0-9/._+@~-]*$/.test(dir)) {
    throw new Error(
      `the router folder ${dir} must be an absolute path of letters, digits and /._+@~- for HAProxy`,
    );
  }
}
