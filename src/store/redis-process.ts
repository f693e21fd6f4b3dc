import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import type { Logger } from '../logger.ts';

const lockTaken = 75;
const longestSocketPath = 107;
/** Of one that keeps dying. */
const startAgainEveryMs = 5000;

/** Whether the private Redis of this folder did not start because it could not read its own file. */
export async function redisDamage(dir: string): Promise<{ reason: string; fix: string } | undefined> {
  const log = await readFile(join(dir, 'redis.log'), 'utf8').catch(() => '');
  const said = log.trimEnd().split('\n').slice(-3).join('\n');
  if (!/Bad file format reading the append only file|Unrecoverable error reading the append only/.test(said))
    return undefined;
  return {
    reason: `the file of Redis is damaged (${join(dir, 'redis.log')} says where)`,
    fix: `keep a copy of ${join(dir, 'appendonlydir')}, then cut off what is damaged: redis-check-aof --fix ${join(dir, 'appendonlydir', 'appendonly.aof.manifest')}  or restore a backup: gantry restore`,
  };
}

/**
 * The private Redis in the data folder. It runs in its own session: a crash of ours does not stop it, and the next
 * start adopts it. `flock -F` holds the lock exactly as long as Redis lives; two on one folder would both write its file.
 */
export class RedisProcess {
  readonly socket: string;
  readonly #dir: string;
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #starts: number[] = [];

  constructor(dir: string, logger: Logger) {
    this.#dir = dir;
    this.socket = join(dir, 'redis.sock');
    this.#logger = logger;
    if (Buffer.byteLength(this.socket) > longestSocketPath) {
      throw new Error(
        `the path ${this.socket} is too long for a unix socket; set GANTRY_DATA to a shorter folder`,
      );
    }
  }

  /** Resolves when Redis answers; true when it was running already. From then on it is started again when it dies. */
  async start(): Promise<boolean> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const adopted = (await this.#ping()) !== 'away';
    await this.#untilReady(adopted ? undefined : this.#spawn());
    this.#watch();
    return adopted;
  }

  /** Looks after it no longer; it runs on. */
  letGo(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Ends Redis; everything written is on disk. */
  async stop(): Promise<void> {
    this.letGo();
    const pid = Number(await readFile(join(this.#dir, 'redis.pid'), 'utf8').catch(() => ''));
    if (!pid || (await this.#ping()) === 'away') return;
    process.kill(pid, 'SIGTERM');
    for (let tries = 0; tries < 500 && (await this.#ping()) !== 'away'; tries += 1) await wait(10);
  }

  #watch(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#look().finally(() => this.#watch()), 500);
  }

  async #look(): Promise<void> {
    if ((await this.#ping()) !== 'away' || this.#stopped) return;
    const now = performance.now();
    this.#starts = this.#starts.filter((time) => now - time < 60_000);
    const keepsDying = this.#starts.length >= 5;
    // Never given up: the cause may be gone by then.
    if (keepsDying && now - (this.#starts.at(-1) ?? 0) < startAgainEveryMs) return;
    if (keepsDying)
      this.#logger.error(
        { log: join(this.#dir, 'redis.log') },
        'redis keeps dying; see its log (full disk? then free space; damaged file? redis-check-aof)',
      );
    else this.#logger.warn('redis was gone and is started again');
    this.#starts.push(now);
    try {
      await this.#untilReady(this.#spawn());
    } catch (err) {
      this.#logger.error({ err }, 'redis did not come back');
    }
  }

  #spawn(): ChildProcess {
    const binary = ['redis-server', 'valkey-server'].find((name) =>
      (process.env.PATH ?? '').split(':').some((dir) => existsSync(join(dir, name))),
    );
    if (!binary)
      throw new Error('redis-server was not found on PATH; install it: apt-get install redis-server');
    const path = (name: string) => join(this.#dir, name);
    const options = {
      port: '0',
      unixsocket: this.socket,
      unixsocketperm: '600',
      dir: this.#dir,
      daemonize: 'no',
      'protected-mode': 'yes',
      databases: '1',
      appendonly: 'yes',
      appendfsync: 'always',
      'no-appendfsync-on-rewrite': 'no',
      'aof-load-truncated': 'yes',
      'auto-aof-rewrite-percentage': '100',
      'auto-aof-rewrite-min-size': '16mb',
      save: '',
      'maxmemory-policy': 'noeviction',
      logfile: path('redis.log'),
      pidfile: path('redis.pid'),
      'set-proc-title': 'no',
    };
    const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
    const child = spawn(
      'flock',
      ['-n', '-E', String(lockTaken), '-F', path('redis.lock'), binary, ...flags],
      {
        detached: true,
        stdio: 'ignore',
      },
    );
    child.on('error', (err) => this.#logger.error({ err }, 'redis could not be started'));
    child.unref();
    return child;
  }

  async #untilReady(child: ChildProcess | undefined): Promise<void> {
    const deadline = performance.now() + 60_000;
    let lastSeen = performance.now();
    for (;;) {
      const answer = await this.#ping();
      if (answer === 'ready') return;
      if (answer === 'loading') lastSeen = performance.now();
      // Another one that has the lock may be about to answer.
      const hasDied = child && child.exitCode !== lockTaken && (child.exitCode ?? child.signalCode) !== null;
      if (hasDied || performance.now() > deadline || performance.now() - lastSeen > 5000) {
        const damage = await redisDamage(this.#dir);
        if (damage) throw new Error(`${damage.reason}; apps go on. ${damage.fix}`);
        const log = await readFile(join(this.#dir, 'redis.log'), 'utf8').catch(() => '');
        throw new Error(
          `redis did not start; the end of ${join(this.#dir, 'redis.log')}:\n${log.split('\n').slice(-4).join('\n')}`,
        );
      }
      await wait(10);
    }
  }

  /** Asks without a client library, which would try again for itself. */
  #ping(): Promise<'ready' | 'loading' | 'away'> {
    return new Promise((resolve) => {
      const socket = createConnection(this.socket);
      const done = (answer: 'ready' | 'loading' | 'away'): void => {
        socket.destroy();
        resolve(answer);
      };
      socket.setTimeout(2000, () => done('loading')); // it accepts but is busy: alive
      socket.on('connect', () => socket.write('PING\r\n'));
      socket.on('data', (data) => done(data.toString().startsWith('+PONG') ? 'ready' : 'loading'));
      socket.on('error', () => done('away'));
      socket.on('close', () => done('away'));
    });
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
