import { connect, createServer, type Server, type Socket } from 'node:net';
import { randomNumbers } from './random.ts';
import { freePort } from './rig.ts';

/** A network on the way to a unix socket, as good or bad as a test wants it. */
export class Network {
  readonly port: number;
  readonly #server: Server;
  readonly #random: () => number;
  readonly #lines = new Set<Line>();
  #delay = { from: 0, to: 0 };
  #isCut = false;
  #cutting: NodeJS.Timeout | undefined;

  private constructor(port: number, path: string, random: () => number) {
    this.port = port;
    this.#random = random;
    this.#server = createServer((client) => this.#accept(client, path));
  }

  static async before(path: string, seed: number): Promise<Network> {
    const network = new Network(await freePort(), path, randomNumbers(seed));
    await new Promise<void>((resolve) => network.#server.listen(network.port, '127.0.0.1', resolve));
    return network;
  }

  /** As it was at first. What was held back arrives. */
  mend(): void {
    this.#delay = { from: 0, to: 0 };
    clearTimeout(this.#cutting);
    this.#isCut = false;
    for (const line of this.#lines) line.flow();
  }

  /** Everything takes so long in each direction. */
  slow(from: number, to: number): void {
    this.#delay = { from, to };
  }

  /** One connection after the other breaks, with whatever is under way on it. */
  breakAtRandom(mostMs: number): void {
    this.#cutting = setTimeout(() => {
      const lines = [...this.#lines];
      lines[Math.floor(this.#random() * lines.length)]?.reset();
      this.breakAtRandom(mostMs);
    }, this.#random() * mostMs);
  }

  /** Nothing arrives until it is mended, and nobody is told. */
  holdBack(): void {
    this.#isCut = true;
  }

  /** The connections there are lead nowhere from now on, and nobody is told; new ones work. */
  forget(): void {
    for (const line of this.#lines) line.lose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.mend();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const line of this.#lines) line.reset();
    await closed;
  }

  #accept(client: Socket, path: string): void {
    const line = new Line(client, connect({ path }), {
      delayMs: () => this.#delay.from + this.#random() * (this.#delay.to - this.#delay.from),
      isCut: () => this.#isCut,
      onClose: () => this.#lines.delete(line),
    });
    this.#lines.add(line);
  }
}

type Weather = { delayMs: () => number; isCut: () => boolean; onClose: () => void };

/** One connection. */
class Line {
  readonly #ends: readonly [Socket, Socket];
  readonly #weather: Weather;
  #waiting: (() => void)[] = [];
  #isLost = false;

  constructor(client: Socket, server: Socket, weather: Weather) {
    this.#ends = [client, server];
    this.#weather = weather;
    this.#lead(client, server);
    this.#lead(server, client);
  }

  flow(): void {
    for (const send of this.#waiting.splice(0)) send();
  }

  reset(): void {
    this.#ends[0].resetAndDestroy();
    this.#ends[1].destroy();
  }

  lose(): void {
    this.#isLost = true;
    this.#ends[1].destroy();
  }

  #lead(from: Socket, to: Socket): void {
    from.setNoDelay(true);
    const underWay: (() => void)[] = [];
    let lastAt = 0;
    const send = (): void => {
      const now = performance.now();
      lastAt = Math.max(lastAt, now + this.#weather.delayMs());
      // Whatever timer ends first: nothing overtakes.
      setTimeout(() => {
        const arrive = underWay.shift();
        if (!this.#isLost) arrive?.();
      }, lastAt - now);
    };
    const carry = (arrive: () => void): void => {
      underWay.push(arrive);
      if (this.#weather.isCut() || this.#waiting.length > 0) this.#waiting.push(send);
      else send();
    };
    from.on('data', (chunk: Buffer) => carry(() => to.destroyed || to.write(chunk)));
    from.on('error', () => {});
    from.on('close', () => {
      this.#weather.onClose();
      carry(() => to.destroy());
    });
  }
}
