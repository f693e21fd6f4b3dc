import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * The Docker engine of this machine, or another one, behind a socket of its own, which can be taken away, cut or frozen for one Gantry
 * while everybody else goes on with the real one.
 */
export class EngineProxy {
  readonly path: string;
  /** Requests as their first lines, for tests that cut at a certain one. */
  readonly requests: string[] = [];
  readonly #folder: string;
  readonly #server = createServer({ allowHalfOpen: true }, (client) => this.#connect(client));
  readonly #sockets = new Set<Socket>();
  #isFrozen = false;
  #endsAt: { request: RegExp; how: () => unknown } | undefined;

  readonly #engine: string;

  private constructor(folder: string, engine: string) {
    this.#engine = engine;
    this.#folder = folder;
    this.path = join(folder, 'docker.sock');
  }

  /** `engine`: the socket of the real one. */
  static async start(engine = '/var/run/docker.sock'): Promise<EngineProxy> {
    const proxy = new EngineProxy(await mkdtemp(join(tmpdir(), 'gantry-engine-')), engine);
    await proxy.comeBack();
    return proxy;
  }

  get dockerHost(): string {
    return `unix://${this.path}`;
  }

  /** The engine is there (again). */
  async comeBack(): Promise<void> {
    this.#isFrozen = false;
    this.#endsAt = undefined;
    this.#dropAll();
    if (this.#server.listening) return;
    await new Promise<void>((resolve) => this.#server.listen(this.path, resolve));
  }

  /** Like a killed engine: open connections break, new ones are refused. */
  async goAway(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#dropAll();
    await closed;
  }

  /** The first request that matches, and every one after it, finds no engine. */
  goAwayAt(request: RegExp): void {
    this.#endsAt = { request, how: () => this.goAway() };
  }

  /** The first request that matches, and whatever is asked after it, never gets there. */
  freezeAt(request: RegExp): void {
    this.#endsAt = { request, how: () => this.freeze() };
  }

  /** Connections are accepted, and nothing is ever answered, not even what was asked before. */
  freeze(): void {
    this.#isFrozen = true;
    for (const socket of this.#sockets) socket.pause();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.goAway();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #connect(client: Socket): void {
    this.#keep(client);
    if (this.#isFrozen) return void client.pause();
    const engine = connect({ path: this.#engine, allowHalfOpen: true });
    this.#keep(engine);
    client.on('data', (chunk: Buffer) => {
      const [line = ''] = chunk.toString('latin1').split('\r\n', 1);
      if (line.endsWith(' HTTP/1.1')) {
        this.requests.push(line);
        if (this.#endsAt?.request.test(line)) return void this.#endsAt.how();
      }
      if (!engine.write(chunk)) client.pause();
    });
    engine.on('drain', () => this.#isFrozen || client.resume());
    engine.pipe(client);
    client.on('end', () => engine.end());
    client.on('close', () => engine.destroy());
    engine.on('close', () => client.destroy());
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }

  #dropAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}
