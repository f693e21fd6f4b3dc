import { randomUUID } from 'node:crypto';
import type { Engine, GateState, NetworkState } from '../docker/engine.ts';
import type { AppName } from '../domain/app.ts';
import { labels } from '../domain/container.ts';
import type { GateWish } from '../domain/gate.ts';
import type { GateAnswer, GateOrders } from '../domain/gate-orders.ts';
import type { Endpoint } from '../domain/route.ts';
import { messageOf } from '../errors.ts';
import { Hints } from '../hints.ts';
import type { Logger } from '../logger.ts';
import type { RouteStore } from '../store/route-store.ts';
import type { StoreEvents } from '../store/store-events.ts';
import type { TurnStore } from '../store/turn-store.ts';
import { type GateImage, gateRepository } from './gate-image.ts';

export type GateKeeperOptions = {
  engine: Engine;
  storeId: string;
  storeTag: string;
  turns: TurnStore;
  events: StoreEvents;
  routes: RouteStore;
  wishes: () => Promise<readonly GateWish[]>;
  /** Throws when what was read of the store may not be true. */
  assertOwnStore: () => Promise<void>;
  image: () => Promise<GateImage>;
  /** An address of the network that is not taken. */
  freeAddress: (subnet: string, taken: readonly string[]) => string | undefined;
  drainTimeoutMs: number;
  logger: Logger;
};

const turnMs = 10_000;
/** A hint may be lost, and nobody hints at a new network. */
const lookEveryMs = 2000;
const drainEveryMs = 150;

/**
 * Sees to it that the gates that should be there are, in the right networks and with the right orders, and that a
 * container is not stopped under the connections they have to it. Of several workers one does it.
 */
export class GateKeeper {
  readonly #options: GateKeeperOptions;
  readonly #owner = randomUUID();
  readonly #stop = new AbortController();
  /** Container that is drained to since when. */
  readonly #drainingSince = new Map<string, number>();
  /** What is wrong with which, so that it is said once. */
  readonly #told = new Map<string, string>();
  #image: GateImage | undefined;
  readonly #hints = new Hints();
  #loop: Promise<void> | undefined;

  constructor(options: GateKeeperOptions) {
    this.#options = options;
  }

  start(): void {
    const stopListening = this.#options.events.listen(({ kind }) => {
      if (kind === 'route' || kind === 'policy' || kind === 'drained') this.#hints.give();
    });
    this.#loop = this.#run().finally(stopListening);
  }

  /** The gates go on. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#hints.give();
    await this.#loop;
    await this.#options.turns.letGo(this.#owner).catch(() => {}); // its time ends by itself
  }

  async #run(): Promise<void> {
    const { turns, logger } = this.#options;
    while (!this.#stop.signal.aborted) {
      this.#hints.take();
      let isDraining = false;
      try {
        if (await turns.hold(this.#owner, turnMs)) isDraining = await this.#look();
      } catch (err) {
        logger.debug({ err }, 'internal routes are not looked after; it is tried again');
      }
      await this.#hints.next(isDraining ? drainEveryMs : lookEveryMs);
    }
  }

  /** Answers whether something is being drained. */
  async #look(): Promise<boolean> {
    const { engine, storeId, routes, wishes, assertOwnStore, logger } = this.#options;
    const [wanted, gated] = await Promise.all([wishes(), routes.gated()]);
    await assertOwnStore();
    if (wanted.length === 0 && gated.length === 0) return false;
    const mark = `${labels.store}=${storeId}`;
    const [gates, networks] = await Promise.all([engine.listGates(mark), engine.describeNetworks(mark)]);
    for (const gate of gates) {
      if (wanted.some(({ name }) => name === gate.labels[labels.gate])) continue;
      await engine.stopAndRemove(gate.id, 0);
      logger.info({ name: gate.labels[labels.gate] }, 'internal route closed');
    }
    const apps = [...new Set(wanted.map(({ app }) => app))];
    for (const app of gated) if (!apps.includes(app)) await routes.ungate(app);
    let isDraining = false;
    for (const app of apps) {
      await routes.gate(app);
      const ofApp = wanted.filter((wish) => wish.app === app);
      isDraining = (await this.#keepApp(app, ofApp, gates, networks)) || isDraining;
    }
    return isDraining;
  }

  async #keepApp(
    app: AppName,
    wishes: readonly GateWish[],
    gates: readonly GateState[],
    networks: readonly NetworkState[],
  ): Promise<boolean> {
    const { routes, assertOwnStore, logger } = this.#options;
    // First: what the gates count as open must not be from before they knew this route.
    const route = await routes.get(app);
    await assertOwnStore();
    const targets = (route?.live ?? []).map(({ address }) => address);
    const open: (GateAnswer['open'] | undefined)[] = [];
    for (const wish of wishes) {
      try {
        open.push(await this.#keep(wish, targets, gates, networks));
        this.#told.delete(wish.name);
      } catch (error) {
        open.push(undefined);
        const reason = messageOf(error);
        if (this.#told.get(wish.name) !== reason)
          logger.warn({ app, name: wish.name, reason }, 'internal route not in order; it is tried again');
        this.#told.set(wish.name, reason);
      }
    }
    const draining = (route?.draining ?? []).filter(({ isLetGoByGates }) => !isLetGoByGates);
    for (const endpoint of draining) await this.#drain(app, endpoint, open);
    return draining.length > 0;
  }

  /** Not knowing is not zero, but it ends as everything else does at the limit. */
  async #drain(
    app: AppName,
    endpoint: Endpoint,
    open: readonly (GateAnswer['open'] | undefined)[],
  ): Promise<void> {
    const { container, address } = endpoint;
    const since = this.#drainingSince.get(container) ?? performance.now();
    this.#drainingSince.set(container, since);
    const isIdle = open.every((counts) => counts !== undefined && (counts[address] ?? 0) === 0);
    if (!isIdle && performance.now() - since < this.#options.drainTimeoutMs) return;
    this.#drainingSince.delete(container);
    await this.#options.routes.forgetDrained(app, endpoint, 'gates');
  }

  /** Answers how many connections it has to which address; nothing while there is no place to put it. */
  async #keep(
    { name, app, sources }: GateWish,
    targets: readonly string[],
    gates: readonly GateState[],
    networks: readonly NetworkState[],
  ): Promise<GateAnswer['open']> {
    const { engine } = this.#options;
    const ofApp = (which: AppName) => networks.filter((each) => each.labels[labels.app] === which);
    const home = ofApp(app);
    const abroad = sources.flatMap((source) => ofApp(source.app));
    const gate = await this.#gateFor(name, gates, home);
    if (!gate) return {};
    const orders: GateOrders = {
      sources: sources.map((source) => ({
        subnets: ofApp(source.app).flatMap(({ subnets }) => subnets),
        ports: source.ports,
      })),
      targets,
    };
    const answer = JSON.parse(await engine.tellGate(gate.id, JSON.stringify(orders))) as GateAnswer;
    const wanted = [...home, ...abroad];
    for (const network of gate.networks)
      if (!wanted.some((each) => each.name === network)) await engine.disconnectNetwork(network, gate.id);
    for (const network of wanted)
      if (!gate.networks.includes(network.name)) await this.#join(network, gate.id, name);
    if (answer.problems.length > 0) throw new Error(answer.problems.slice(0, 3).join('; '));
    return answer.open;
  }

  async #gateFor(
    name: string,
    gates: readonly GateState[],
    home: readonly NetworkState[],
  ): Promise<GateState | undefined> {
    const { engine, storeId, storeTag, logger } = this.#options;
    const image = (this.#image ??= await this.#prepareImage());
    const existing = gates.find((gate) => gate.labels[labels.gate] === name);
    if (existing?.running && existing.labels[labels.image] === image.tag) return existing;
    if (existing) await engine.stopAndRemove(existing.id, 0);
    const [network] = home;
    const address = network && (await this.#addressIn(network));
    if (!network || address === undefined) return undefined;
    const id = await engine.startGate({
      name: `gantry-${storeTag}-gate-${name}`,
      image: image.tag,
      command: image.command,
      labels: { [labels.store]: storeId, [labels.gate]: name, [labels.image]: image.tag },
      network: network.name,
      address,
    });
    logger.info({ name }, 'internal route opened');
    return { id, labels: {}, running: true, networks: [network.name] };
  }

  async #join(network: NetworkState, container: string, alias: string): Promise<void> {
    const address = await this.#addressIn(network);
    const isIn =
      address !== undefined &&
      (await this.#options.engine.connectNetwork(network.name, container, alias, address));
    if (!isIn) throw new Error(`no free address in the network ${network.name}`);
  }

  /** Fixed, so that no container of the app is given the same while the engine restarts. */
  async #addressIn({ name }: NetworkState): Promise<string | undefined> {
    const { engine, freeAddress } = this.#options;
    const members = await engine.inspectNetwork(name);
    return (
      members &&
      freeAddress(
        members.subnet,
        members.containers.map(({ address }) => address),
      )
    );
  }

  async #prepareImage(): Promise<GateImage> {
    const { engine, storeTag } = this.#options;
    const image = await this.#options.image();
    if (!(await engine.inspectImage(image.tag))) await engine.importImage(image.tag, image.tar());
    const known = await engine.listImages(labels.gate, `${gateRepository(storeTag)}:*`);
    // Of an earlier version of us; one that is still used goes another time.
    for (const tag of known.flatMap(({ tags }) => tags)) if (tag !== image.tag) await engine.removeImage(tag);
    return image;
  }
}
