import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { cp, readFile, rm } from 'node:fs/promises';
import { type Agent, get, type IncomingMessage } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type Docker from 'dockerode';
import { Redis } from 'ioredis';
import { onTestFailed } from 'vitest';
import type { Scope } from '../../src/domain/account.ts';
import { TokenStore } from '../../src/store/token-store.ts';
import { localDocker } from './base-image.ts';
import { type GitResult, resultOf, type TestFiles, temporaryRepository } from './git.ts';
import type { OwnEngine } from './own-engine.ts';
import { innerPid } from './processes.ts';

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const fixtures = fileURLToPath(new URL('../fixtures/apps', import.meta.url));

export type Answer = { status: number; body: string; headers: IncomingMessage['headers'] };

/** On a machine that starts several at once. */
const slowStartMs = 90_000;

/** A whole Gantry in a folder and on ports of its own, seen only from outside. Everything of it goes when it is disposed. */
export class Rig {
  readonly dataDir: string;
  readonly port: number;
  readonly httpPort: number;
  readonly env: Record<string, string>;
  readonly #engine: OwnEngine | undefined;
  /** What is started: another one to try an older version. */
  program = cli;
  #process: ChildProcess | undefined;
  #output = '';

  private constructor(
    dataDir: string,
    port: number,
    httpPort: number,
    env: Record<string, string>,
    engine: OwnEngine | undefined,
  ) {
    this.#engine = engine;
    this.dataDir = dataDir;
    this.port = port;
    this.httpPort = httpPort;
    this.env = {
      PATH: process.env.PATH ?? '/usr/bin:/bin:/usr/sbin',
      HOME: dataDir,
      GANTRY_DATA: dataDir,
      GANTRY_PORT: String(port),
      GANTRY_HTTP_PORT: String(httpPort),
      GANTRY_HTTP_BIND: '127.0.0.1',
      GANTRY_LOG_LEVEL: 'debug',
      ...(engine && { DOCKER_HOST: engine.dockerHost }),
      ...env,
    };
  }

  /** With an engine of its own it runs on the machine that is that engine's. */
  static async start(env: Record<string, string> = {}, engine?: OwnEngine): Promise<Rig> {
    const rig = await Rig.make(env, engine);
    try {
      await rig.start();
    } catch (error) {
      await rig[Symbol.asyncDispose]();
      throw error;
    }
    return rig;
  }

  /** One that is not started yet. */
  static async make(env: Record<string, string> = {}, engine?: OwnEngine): Promise<Rig> {
    const ports = [await freePort(), await freePort()] as const;
    for (const port of ports) await engine?.open(port);
    return new Rig(mkdtempSync(join(tmpdir(), 'gtry-')), ...ports, env, engine);
  }

  get docker(): Docker {
    return this.#engine?.docker ?? localDocker();
  }

  /** `gantry start` that is to fail: what it says and how it ends. Killed when it does not within 20 s. */
  failToStart(env: Record<string, string> = {}, wrapper: readonly string[] = []): Promise<GitResult> {
    const [command, ...args] = [...wrapper, process.execPath, '--enable-source-maps', cli, 'start'];
    const limits = { timeout: 20_000, killSignal: 'SIGKILL' } as const;
    return resultOf(spawn(command, args, { env: { ...this.env, ...env }, stdio: 'pipe', ...limits }));
  }

  /** Starts (again); resolves when it is ready. */
  async start(): Promise<void> {
    this.#output = '';
    const child = this.#spawn(['--enable-source-maps', this.program, 'start'], this.env, process.cwd());
    this.#process = child;
    const collect = (chunk: Buffer): void => {
      this.#output += chunk.toString();
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    await until(
      'Gantry is ready',
      () => {
        if (child.exitCode !== null)
          throw new Error(`gantry start ended with ${child.exitCode}: ${this.#output}`);
        return this.#output.includes('Ctrl-C ends Gantry');
      },
      slowStartMs,
    );
  }

  get output(): string {
    return this.#output;
  }

  get pid(): number {
    return this.#engine ? innerPid(this.#process) : (this.#process?.pid ?? 0);
  }

  #spawn(args: readonly string[], env: Record<string, string>, cwd: string): ChildProcess {
    const command = [...(this.#engine?.inside(cwd) ?? []), process.execPath, ...args];
    return spawn(command[0] ?? '', command.slice(1), { env, cwd, stdio: 'pipe' });
  }

  get token(): Promise<string> {
    return readFile(join(this.dataDir, 'admin-token'), 'utf8').then((text) => text.trim());
  }

  /** For somebody who may not do everything. */
  async createToken(name: string, scopes: readonly Scope[], expiresAt?: Date): Promise<string> {
    const redis = new Redis({ path: join(this.dataDir, 'redis/redis.sock') });
    try {
      return (await new TokenStore(redis).create({ name, scopes, createdBy: 'test', expiresAt })).secret;
    } finally {
      redis.disconnect();
    }
  }

  /** What everything of ours on the engine is labelled with. */
  get storeId(): Promise<string> {
    return readFile(join(this.dataDir, 'store-id'), 'utf8').then((text) => text.trim());
  }

  async pushUrl(app: string): Promise<string> {
    return `http://ana:${await this.token}@127.0.0.1:${this.port}/${app}.git`;
  }

  log(): Promise<string> {
    return readFile(join(this.dataDir, 'gantry.log'), 'utf8').catch(() => '');
  }

  async lastOfLog(): Promise<string> {
    return (await this.log()).split('\n').slice(-60).join('\n');
  }

  /** The process id of the worker, as the operator's log tells it. */
  async workerPid(): Promise<number> {
    const { stdout } = await run('pgrep', ['-P', String(this.pid), '-f', 'worker']);
    return Number(stdout.trim().split('\n')[0]);
  }

  async redisPid(): Promise<number> {
    const pid = Number(await readFile(join(this.dataDir, 'redis/redis.pid'), 'utf8'));
    return this.#engine ? this.#engine.hostPid(pid) : pid;
  }

  /** Ends the server process without a word, as a crash does; Redis and the router live on. */
  async crash(): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    process.kill(this.pid, 'SIGKILL');
    child.kill('SIGCONT'); // nsenter stops with what it has started
    await exited;
  }

  /** Ctrl-C. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    process.kill(this.pid, 'SIGINT');
    child.kill('SIGCONT');
    await exited;
  }

  gantry(...args: string[]): Promise<GitResult> {
    return this.gantryWith(undefined, ...args);
  }

  gantryWith(input: string | Buffer | undefined, ...args: string[]): Promise<GitResult> {
    return this.#gantry({ GANTRY_URL: `http://127.0.0.1:${this.port}` }, input, args);
  }

  /** As on the server's own machine, with the server's own settings. */
  gantryHere(...args: string[]): Promise<GitResult> {
    return this.#gantry({}, undefined, args);
  }

  /** With variables of its own. */
  gantryIn(env: Record<string, string>, ...args: string[]): Promise<GitResult> {
    return this.#gantry({ GANTRY_URL: `http://127.0.0.1:${this.port}`, ...env }, undefined, args);
  }

  #gantry(
    env: Record<string, string>,
    input: string | Buffer | undefined,
    args: readonly string[],
  ): Promise<GitResult> {
    const child = this.#spawn([cli, ...args], { ...this.env, ...env }, this.dataDir);
    child.stdin?.end(input);
    return resultOf(child);
  }

  async setEnv(app: string, env: Record<string, string | null>): Promise<void> {
    await this.api('POST', '/apps', { name: app });
    const answer = await this.api('PATCH', `/apps/${app}/env`, { env });
    if (answer.status !== 200) throw new Error(`env not set: ${answer.body}`);
  }

  async api(method: string, path: string, body?: unknown): Promise<{ status: number; body: string }> {
    const response = await fetch(`http://127.0.0.1:${this.port}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${await this.token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.text() };
  }

  /** What a visitor of the app gets through the router. */
  request(app: string, path = '/', agent?: Agent): Promise<Answer> {
    return requestHost(this.httpPort, `${app}.localhost`, path, agent);
  }

  requestHost(host: string, path = '/'): Promise<Answer> {
    return requestHost(this.httpPort, host, path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    const down = await resultOf(this.#spawn([cli, 'down', '--apps', '--delete-data'], this.env, '/'));
    if (down.code !== 0) console.error(`could not take everything down: ${down.stderr}`);
    await rm(this.dataDir, { recursive: true, force: true });
  }

  /** Call in a test that shares the rig: prints the operator's log when the test fails. */
  explainFailures(): void {
    onTestFailed(async () => console.error(await this.lastOfLog()));
  }
}

function run(
  command: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv } = {},
): Promise<{ stdout: string }> {
  return new Promise((resolve, reject) => {
    execFile(command, [...args], options, (error, stdout) => (error ? reject(error) : resolve({ stdout })));
  });
}

export function requestHost(port: number, host: string, path = '/', agent?: Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = get(
      { host: '127.0.0.1', port, path, headers: { host }, ...(agent ? { agent } : { agent: false }) },
      (res) => {
        let body = '';
        res.setEncoding('utf8');
        res.on('data', (chunk: string) => {
          body += chunk;
        });
        res.on('end', () => resolve({ status: res.statusCode ?? 0, body, headers: res.headers }));
        res.on('error', reject);
        res.on('aborted', () => reject(new Error('the answer was cut')));
      },
    );
    req.on('error', reject);
  });
}

/** A repository with one of the apps in test/fixtures/apps, changed by `files`. */
export async function appRepository(fixture: string, files: TestFiles = {}) {
  const repository = await temporaryRepository({});
  await cp(join(fixtures, fixture), repository.path, { recursive: true });
  await repository.commit(files, `An app: ${fixture}`);
  return repository;
}

/** Also a look that takes for ever ends at the limit. */
export async function until(
  what: string,
  check: () => boolean | Promise<boolean>,
  limitMs = 30_000,
  everyMs = 20,
): Promise<void> {
  const over = new AbortController();
  const limit = sleep(limitMs, undefined, { signal: over.signal }).then(() => {
    throw new Error(`not within ${limitMs} ms: ${what}`);
  });
  const seen = (async () => {
    while (!(await check())) await sleep(everyMs, undefined, { signal: over.signal });
  })();
  try {
    await Promise.race([seen, limit]);
  } finally {
    over.abort();
    await Promise.allSettled([limit]);
    seen.catch(() => {}); // it ends with the wait, or with whatever its last look was about
  }
}

const given = new Set<number>();

/** Below those that the kernel gives to outgoing connections: one of them could take it before it is listened on. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    if (given.has(port)) continue;
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    given.add(port);
    return port;
  }
}
