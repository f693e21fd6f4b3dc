import type { HaproxyRuntime, SlotAddress } from './haproxy-runtime.ts';
import {
  type Backends,
  type BusySlot,
  freeTarget,
  type Hosts,
  pointsTo,
  replaceSlot,
  type Slot,
} from './slots.ts';

export type State = { backends: Backends; hosts: Hosts };

/** What HAProxy does, as last read from it or told to it at run time. */
export class HaproxyState {
  readonly #runtime: HaproxyRuntime;
  #state: State = { backends: new Map(), hosts: new Map() };
  #worker: number | undefined;

  constructor(runtime: HaproxyRuntime) {
    this.#runtime = runtime;
  }

  get current(): State {
    return this.#state;
  }

  /** The process this was read from; any other one has what the file said when it was started. */
  get worker(): number | undefined {
    return this.#worker;
  }

  slot({ app, index }: SlotAddress): Slot | undefined {
    return this.#state.backends.get(app)?.[index];
  }

  async read(): Promise<void> {
    const worker = await this.#runtime.workerPid();
    this.#state = { backends: await this.#runtime.backends(), hosts: await this.#runtime.hosts() };
    this.#worker = worker;
  }

  /** The same once more; answers whether it is what was known. */
  async reread(): Promise<boolean> {
    const before = inOrder(this.#state);
    await this.read();
    return inOrder(this.#state) === before;
  }

  /** After a failure nobody knows how far it went. */
  forget(): void {
    this.#worker = undefined;
  }

  /** First everything new goes live, then the host names follow, then everything old drains. */
  async follow(wanted: State): Promise<void> {
    await this.#switchSlots(wanted.backends, 'live');
    await this.#switchHosts(wanted.hosts);
    await this.#switchSlots(wanted.backends, 'draining');
  }

  async free(at: SlotAddress): Promise<void> {
    // Maintenance also closes the idle connections to the container.
    await this.#runtime.setState(at, 'maint');
    await this.#runtime.point(at, freeTarget);
    await this.#confirm(at, { use: 'free' });
  }

  async #switchSlots(wanted: Backends, use: BusySlot['use']): Promise<void> {
    for (const [app, slots] of wanted) {
      for (const [index, slot] of slots.entries()) {
        if (slot.use !== use || slot === this.slot({ app, index })) continue;
        await this.#switchSlot({ app, index }, slot);
      }
    }
  }

  async #switchSlot(at: SlotAddress, slot: BusySlot): Promise<void> {
    if (slot.use === 'live') await this.#runtime.point(at, slot);
    await this.#runtime.setState(at, slot.use === 'live' ? 'ready' : 'drain');
    await this.#confirm(at, slot);
  }

  async #switchHosts(wanted: Hosts): Promise<void> {
    const { hosts } = this.#state;
    for (const [host, app] of wanted) {
      if (!hosts.has(host)) await this.#runtime.addHost(host, app);
      else if (hosts.get(host) !== app) await this.#runtime.setHost(host, app);
    }
    for (const host of hosts.keys()) {
      if (!wanted.has(host)) await this.#runtime.removeHost(host);
    }
    this.#state = { ...this.#state, hosts: wanted };
  }

  /** The replies to commands say little; what counts is the state afterwards. */
  async #confirm(at: SlotAddress, wanted: Slot): Promise<void> {
    const actual = (await this.#runtime.backend(at.app)).get(at.app)?.[at.index];
    if (actual === undefined || !isSame(actual, wanted)) {
      const [is, should] = [actual, wanted].map((slot) => JSON.stringify(slot));
      throw new Error(`slot ${at.index} of ${at.app} should be ${should} and HAProxy says ${is}`);
    }
    this.#state = { ...this.#state, backends: replaceSlot(this.#state.backends, at.app, at.index, wanted) };
  }
}

function inOrder({ backends, hosts }: State): string {
  const sorted = <T>(map: ReadonlyMap<string, T>): [string, T][] =>
    [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([sorted(backends), sorted(hosts)]);
}

function isSame(actual: Slot, wanted: Slot): boolean {
  if (actual.use === 'free' || wanted.use === 'free') return actual.use === wanted.use;
  return actual.use === wanted.use && pointsTo(actual, wanted);
}
