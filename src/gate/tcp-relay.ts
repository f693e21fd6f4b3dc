import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GateOrders } from '../domain/gate-orders.ts';
import { Access, plainAddress } from './access.ts';

type Link = { client: Socket; from: string; port: number; upstream?: Socket; target?: string };

const dialMs = 2000;
/** A container that restarts, or the moment in which none serves, is waited for. */
const patienceMs = 5000;
const againMs = 100;

/** Hands connections of those who may come on to the containers that serve, each to the one with the fewest. */
export class TcpRelay {
  readonly #servers = new Map<number, Server>();
  readonly #links = new Set<Link>();
  readonly #problems = new Map<number, string>();
  #access = new Access({ sources: [], targets: [] });
  #targets: readonly string[] = [];

  /** Connections that are not allowed any more are cut; those to containers that get no new ones go on. */
  async follow(orders: GateOrders): Promise<void> {
    this.#access = new Access(orders);
    this.#targets = orders.targets;
    const ports = this.#access.ports('tcp');
    for (const [port, server] of this.#servers) {
      if (ports.has(port)) continue;
      server.close();
      this.#servers.delete(port);
    }
    for (const link of this.#links) if (!this.#access.allows(link.from, 'tcp', link.port)) cut(link);
    this.#problems.clear();
    await Promise.all([...ports].map((port) => this.#listen(port)));
  }

  get problems(): string[] {
    return [...this.#problems.values()];
  }

  open(): Record<string, number> {
    const open: Record<string, number> = {};
    for (const { target } of this.#links) if (target !== undefined) open[target] = (open[target] ?? 0) + 1;
    return open;
  }

  async #listen(port: number): Promise<void> {
    if (this.#servers.has(port)) return;
    const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, (client) =>
      this.#accept(client, port),
    );
    this.#servers.set(port, server);
    await new Promise<void>((resolve) => {
      server.once('error', (error) => {
        this.#servers.delete(port);
        this.#problems.set(port, `port ${port}: ${error.message}`);
        resolve();
      });
      server.listen(port, resolve);
    });
  }

  #accept(client: Socket, port: number): void {
    client.on('error', () => {});
    const from = plainAddress(client.remoteAddress ?? '');
    if (!this.#access.allows(from, 'tcp', port)) {
      client.resetAndDestroy();
      return;
    }
    const link: Link = { client, from, port };
    this.#links.add(link);
    client.once('close', () => this.#links.delete(link));
    void this.#connect(link);
  }

  async #connect(link: Link): Promise<void> {
    const { client, port } = link;
    const deadline = performance.now() + patienceMs;
    let failed: string | undefined;
    while (!client.destroyed) {
      const target = this.#pick(failed);
      if (target !== undefined) {
        link.target = target;
        const upstream = await dial(target, port);
        if (upstream) {
          if (client.destroyed) upstream.destroy();
          else join(link, upstream);
          return;
        }
        delete link.target;
        failed = target;
      }
      if (performance.now() > deadline) client.resetAndDestroy();
      else await sleep(againMs);
    }
  }

  #pick(failed: string | undefined): string | undefined {
    const open = this.open();
    const others = this.#targets.filter((target) => target !== failed);
    const [first] = (others.length > 0 ? others : [...this.#targets]).toSorted(
      (a, b) => (open[a] ?? 0) - (open[b] ?? 0),
    );
    return first;
  }
}

function dial(host: string, port: number): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true, keepAlive: true });
    const timer = setTimeout(() => socket.destroy(new Error('no answer')), dialMs);
    socket.on('error', () => resolve(undefined));
    socket.once('connect', () => resolve(socket));
    socket.once('close', () => clearTimeout(timer));
    socket.once('connect', () => clearTimeout(timer));
  });
}

/** Each side may end before the other; a side that breaks off breaks off the other. */
function join(link: Link, upstream: Socket): void {
  const { client } = link;
  link.upstream = upstream;
  client.pipe(upstream);
  upstream.pipe(client);
  client.once('close', (isBroken) => void (isBroken && upstream.resetAndDestroy()));
  upstream.once('close', (isBroken) => void (isBroken && client.resetAndDestroy()));
}

function cut({ client, upstream }: Link): void {
  client.resetAndDestroy();
  upstream?.resetAndDestroy();
}
