import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { GateOrders } from '../domain/gate-orders.ts';
import { Access, plainAddress } from './access.ts';

/** Answers go back to who asked, for so long after the last word of either. */
type Exchange = { from: string; port: number; target: string; upstream: Socket; timer: NodeJS.Timeout };

const silenceMs = 60_000;
const mostExchanges = 4000;

/** Hands datagrams of those who may come on to a container that serves, and its answers back. */
export class UdpRelay {
  readonly #sockets = new Map<number, Socket>();
  readonly #exchanges = new Map<string, Exchange>();
  readonly #problems = new Map<number, string>();
  #access = new Access({ sources: [], targets: [] });
  #targets: readonly string[] = [];
  #next = 0;

  /** What goes on with a container that gets nothing new moves to another one. */
  async follow(orders: GateOrders): Promise<void> {
    this.#access = new Access(orders);
    this.#targets = orders.targets;
    const ports = this.#access.ports('udp');
    for (const [port, socket] of this.#sockets) {
      if (ports.has(port)) continue;
      socket.close();
      this.#sockets.delete(port);
    }
    for (const [key, { from, port, target }] of this.#exchanges) {
      if (!this.#access.allows(from, 'udp', port) || !this.#targets.includes(target)) this.#end(key);
    }
    this.#problems.clear();
    await Promise.all([...ports].map((port) => this.#listen(port)));
  }

  get problems(): string[] {
    return [...this.#problems.values()];
  }

  async #listen(port: number): Promise<void> {
    if (this.#sockets.has(port)) return;
    const socket = createSocket('udp4');
    this.#sockets.set(port, socket);
    socket.on('message', (message, sender) => this.#take(socket, port, message, sender));
    await new Promise<void>((resolve) => {
      socket.once('error', (error) => {
        this.#sockets.delete(port);
        this.#problems.set(port, `port ${port}: ${error.message}`);
        resolve();
      });
      socket.bind(port, () => {
        socket.removeAllListeners('error').on('error', () => {});
        resolve();
      });
    });
  }

  #take(socket: Socket, port: number, message: Buffer, sender: RemoteInfo): void {
    const from = plainAddress(sender.address);
    if (!this.#access.allows(from, 'udp', port)) return;
    const key = `${from} ${sender.port} ${port}`;
    const exchange =
      this.#exchanges.get(key) ??
      this.#begin(key, from, port, (answer) => socket.send(answer, sender.port, sender.address, () => {}));
    if (!exchange) return;
    exchange.timer.refresh();
    exchange.upstream.send(message, port, exchange.target, () => {});
  }

  #begin(key: string, from: string, port: number, answer: (message: Buffer) => void): Exchange | undefined {
    const target = this.#targets[this.#next++ % this.#targets.length];
    if (target === undefined) return undefined;
    const oldest = this.#exchanges.keys().next();
    if (this.#exchanges.size >= mostExchanges && !oldest.done) this.#end(oldest.value);
    const upstream = createSocket('udp4');
    const timer = setTimeout(() => this.#end(key), silenceMs);
    upstream.on('error', () => {});
    upstream.on('message', (message, { address }) => {
      if (address !== target) return;
      timer.refresh();
      answer(message);
    });
    const exchange = { from, port, target, upstream, timer };
    this.#exchanges.set(key, exchange);
    return exchange;
  }

  #end(key: string): void {
    const exchange = this.#exchanges.get(key);
    this.#exchanges.delete(key);
    clearTimeout(exchange?.timer);
    exchange?.upstream.close();
  }
}
