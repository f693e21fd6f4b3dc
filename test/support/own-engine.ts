import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, rmdir } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { baseImage, localDocker, nodeImage } from './base-image.ts';
import { innerPid } from './processes.ts';
import { until } from './rig.ts';

/**
 * What runs first in it: its folder of things that do not outlive a boot, which also hides the socket of this machine's
 * engine, its loopback, and a first process that is there for every orphan. Beside that one connections come in.
 */
const boot = `
set -e
mount -t tmpfs tmpfs /run
ip link set lo up
cd /
exec docker-init -- "$1" -e "$2" "$3"
`;

/** A unix socket is reached from another network: two bytes say the port, the rest is for that. */
const relay = `
const { connect, createServer } = require('node:net');
const [path] = process.argv.slice(-1);
createServer({ allowHalfOpen: true }, (client) => {
  client.once('data', (chunk) => {
    const inside = connect({ host: '127.0.0.1', port: chunk.readUInt16BE(0), allowHalfOpen: true });
    inside.write(chunk.subarray(2));
    client.pipe(inside).pipe(client);
    inside.on('error', () => {}).on('close', () => client.destroy());
    client.on('close', () => inside.destroy());
  });
  client.on('error', () => {});
}).listen(path);
`;

type Options = {
  /** Of this machine's engine, to begin with. */
  images?: readonly string[];
  /** A disk for all the engine keeps, in memory; it is empty after a power cut. */
  diskBytes?: number;
  /** Of dockerd, besides. */
  flags?: readonly string[];
};

const namePrefix = 'gtry-engine-';

/**
 * A second Docker engine, on what is a machine of its own to everything that runs there: process ids, network and mounts
 * are its own, files and the clock are this machine's. So its power can be cut, and nothing of it outlives this process.
 */
export class OwnEngine {
  readonly docker: Docker;
  readonly dockerHost: string;
  readonly #folder: string;
  readonly #name: string;
  readonly #flags: readonly string[];
  readonly #doors = new Map<number, { server: Server; sockets: Set<Socket> }>();
  #machine: ChildProcess | undefined;
  #dockerd: ChildProcess | undefined;

  private constructor(folder: string, name: string, flags: readonly string[]) {
    this.#folder = folder;
    this.#name = name;
    this.#flags = flags;
    const socketPath = join(folder, 'docker.sock');
    this.dockerHost = `unix://${socketPath}`;
    this.docker = new Docker({ socketPath, host: undefined, protocol: 'http' });
  }

  static async start({
    images = [baseImage, nodeImage],
    diskBytes,
    flags = [],
  }: Options = {}): Promise<OwnEngine> {
    await removeForgotten();
    const folder = await mkdtemp(join(tmpdir(), `${namePrefix}${process.pid}-`));
    const engine = new OwnEngine(folder, folder.slice(tmpdir().length + 1), flags);
    try {
      await engine.powerOn();
      if (diskBytes !== undefined) await engine.#mountDisk(diskBytes);
      await engine.startDaemon();
      for (const image of images) await until(`${image} is there, too`, () => engine.load(image), 120_000);
    } catch (error) {
      await engine[Symbol.asyncDispose]();
      throw error;
    }
    return engine;
  }

  async #mountDisk(bytes: number): Promise<void> {
    await mkdir(this.dataDir);
    await this.run('mount', '-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', this.dataDir);
  }

  /** To its end, as a process there. */
  async run(...command: string[]): Promise<void> {
    const [nsenter, ...args] = [...this.inside('/'), ...command];
    await promisify(execFile)(nsenter, args);
  }

  /** Where the engine keeps everything. */
  get dataDir(): string {
    return join(this.#folder, 'data');
  }

  /** From this machine's engine. */
  async load(image: string): Promise<boolean> {
    const loading = await this.docker.loadImage(await localDocker().getImage(image).get());
    for await (const _ of loading);
    return true;
  }

  /** What a command starts with that is to run there, in a folder. */
  inside(folder: string): [string, ...string[]] {
    const first = innerPid(this.#machine);
    return ['nsenter', `--target=${first}`, '--net', '--mount', '--pid', '--', 'env', `--chdir=${folder}`];
  }

  /** A port of its loopback is one of this machine's, too. */
  async open(port: number): Promise<void> {
    const sockets = new Set<Socket>();
    const server = createServer({ allowHalfOpen: true }, (client) => {
      const door = connect({ path: this.#relayPath, allowHalfOpen: true });
      for (const socket of [client, door]) {
        sockets.add(socket);
        socket.on('close', () => sockets.delete(socket));
        socket.on('error', () => {});
      }
      door.on('close', () => client.destroy());
      client.on('close', () => door.destroy());
      door.write(Buffer.from([port >> 8, port & 255]));
      client.pipe(door).pipe(client);
    });
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    this.#doors.set(port, { server, sockets });
  }

  /** The engine dies, what runs in its containers does not. */
  async kill9(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** As before an update: everything that runs in containers is stopped. */
  async stopDaemon(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** What the engine runs containers with. They go on without it, and the engine starts it again ten seconds later. */
  async killContainerd(): Promise<void> {
    const parent = innerPid(this.#dockerd);
    const { stdout } = await promisify(execFile)('pgrep', ['-x', '-P', String(parent), 'containerd']);
    process.kill(Number(stdout), 'SIGKILL');
  }

  /** It takes connections and answers nothing. */
  pause(): void {
    process.kill(innerPid(this.#dockerd), 'SIGSTOP');
  }

  resume(): void {
    // nsenter has stopped with it, and continues with it.
    this.#dockerd?.kill('SIGCONT');
  }

  async startDaemon(): Promise<void> {
    const [nsenter, ...args] = [
      ...this.inside('/'),
      'dockerd',
      `--data-root=${this.dataDir}`,
      `--host=${this.dockerHost}`,
      `--cgroup-parent=/${this.#name}`,
      ...this.#flags,
    ];
    const log = join(this.#folder, 'dockerd.log');
    const output = openSync(log, 'a');
    const dockerd = spawn(nsenter, args, { stdio: ['ignore', output, output] });
    closeSync(output);
    this.#dockerd = dockerd;
    await until('an engine of its own', async () => {
      if (hasEnded(dockerd)) throw new Error(`dockerd ended: ${(await readFile(log, 'utf8')).slice(-2000)}`);
      return (await this.docker.ping().catch(() => undefined)) !== undefined;
    });
  }

  /** Everything that runs there is dead at once: engine, containers, and whatever of Gantry was started there. */
  async powerOff(): Promise<void> {
    const machine = this.#machine;
    if (!machine || hasEnded(machine)) return;
    const ended = once(machine, 'exit');
    process.kill(innerPid(machine), 'SIGKILL');
    await ended;
    for (const { sockets } of this.#doors.values()) for (const socket of sockets) socket.destroy();
    await rm(this.#relayPath, { force: true });
    await removeGroups(this.#name);
  }

  /** Nothing is started there. */
  async powerOn(): Promise<void> {
    const namespaces = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const init = ['sh', '-c', boot, 'sh', process.execPath, relay, this.#relayPath];
    // It ends with us, however we end, and everything there ends with it.
    const machine = spawn('setpriv', ['--pdeathsig', 'KILL', 'unshare', ...namespaces, ...init], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#machine = machine;
    let said = '';
    machine.stderr.on('data', (chunk: Buffer) => (said += String(chunk)));
    await until('a machine of its own', () => {
      if (hasEnded(machine)) throw new Error(`it ended: ${said}`);
      return existsSync(this.#relayPath);
    });
  }

  /** What the process is here that is known there under this number. */
  async hostPid(pid: number): Promise<number> {
    const spaceOf = (process: number | string): Promise<string> =>
      readlink(`/proc/${process}/ns/pid`).catch(() => '');
    const space = await spaceOf(innerPid(this.#machine));
    for (const entry of await readdir('/proc')) {
      if (!/^\d+$/.test(entry) || (await spaceOf(entry)) !== space) continue;
      const status = await readFile(`/proc/${entry}/status`, 'utf8').catch(() => '');
      if (new RegExp(`^NSpid:.*\\t${pid}$`, 'm').test(status)) return Number(entry);
    }
    throw new Error(`there is no process ${pid}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.powerOff();
    for (const { server, sockets } of this.#doors.values()) {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const dockerd = this.#dockerd;
    if (!dockerd || hasEnded(dockerd)) return;
    const ended = once(dockerd, 'exit');
    process.kill(innerPid(dockerd), signal);
    await ended;
  }

  get #relayPath(): string {
    return join(this.#folder, 'relay.sock');
  }
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

/** What test processes left that were killed: nothing runs any more, but there are files and groups. */
async function removeForgotten(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = name.startsWith(namePrefix) ? Number.parseInt(name.slice(namePrefix.length), 10) : undefined;
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    await removeGroups(name);
    await rm(join(tmpdir(), name), { recursive: true, force: true });
  }
}

/** Of its containers, which the kernel keeps until somebody removes them; each controller has them, or one has all. */
async function removeGroups(name: string): Promise<void> {
  const root = '/sys/fs/cgroup';
  for (const controller of [...(await readdir(root)), '.']) {
    const group = join(root, controller, name);
    const inner = await readdir(group, { recursive: true, withFileTypes: true }).catch(() => []);
    const folders = inner
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name));
    for (const folder of [...folders.toSorted().toReversed(), ...(existsSync(group) ? [group] : [])])
      await until(`nothing is in ${folder}`, () =>
        rmdir(folder).then(
          () => true,
          ({ code }) => code === 'ENOENT',
        ),
      );
  }
}
