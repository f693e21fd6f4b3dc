import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AppName, parseAppName } from '../../../src/domain/app.ts';
import type { Endpoint, Route } from '../../../src/domain/route.ts';
import { createLogger } from '../../../src/logger.ts';
import { haproxyPaths } from '../../../src/router/haproxy-config.ts';
import { HaproxyRouter, type HaproxyRouterOptions } from '../../../src/router/haproxy-router.ts';
import { HaproxyRuntime } from '../../../src/router/haproxy-runtime.ts';

export const logger = createLogger(process.env.TEST_LOG ?? 'silent', 'test');

export function app(text: string): AppName {
  const name = parseAppName(text);
  if (name === undefined) throw new Error(`not an app name: ${text}`);
  return name;
}

/** `blog` answers on `blog.test`. */
export function route(
  name: string,
  live: readonly Endpoint[],
  draining: readonly Endpoint[] = [],
  hosts = [`${name}.test`],
): Route {
  return { app: app(name), version: 1, hosts, live, draining };
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

export async function tempDir(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'gr-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** A router with an HAProxy of its own, which is gone at the end, however many controllers it has had. */
export class RouterRig {
  readonly dir: string;
  readonly port: number;
  readonly runtime: HaproxyRuntime;
  router: HaproxyRouter;

  private constructor(dir: string, port: number, router: HaproxyRouter) {
    this.dir = dir;
    this.port = port;
    this.router = router;
    this.runtime = new HaproxyRuntime(haproxyPaths(dir));
  }

  static async start(): Promise<RouterRig> {
    const { path } = await tempDir();
    const port = await freePort();
    const rig = new RouterRig(path, port, new HaproxyRouter({ dir: path, httpPort: port, logger }));
    await rig.router.start();
    return rig;
  }

  /** The controller dies without a word; another one starts. */
  async replaceController(options: Partial<HaproxyRouterOptions> = {}): Promise<void> {
    await this.router.close();
    this.router = new HaproxyRouter({ dir: this.dir, httpPort: this.port, logger, ...options });
    await this.router.start();
  }

  drain(name: string, endpoint: Endpoint, limitMs = 20_000): Promise<'idle' | 'cut'> {
    return this.router.drain(app(name), endpoint, limitMs, new AbortController().signal);
  }

  config(): Promise<string> {
    return readFile(haproxyPaths(this.dir).config, 'utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.router.stop();
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** Waits for a condition; on the deadline it fails with what it saw last. */
export async function eventually<T>(
  observe: () => Promise<T> | T,
  isRight: (seen: T) => boolean,
): Promise<T> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    const seen = await Promise.resolve()
      .then(observe)
      .catch((error: unknown) => error as T);
    if (!(seen instanceof Error) && isRight(seen)) return seen;
    if (Date.now() > deadline)
      throw new Error(`still ${seen instanceof Error ? seen.stack : JSON.stringify(seen)}`);
    await sleep(20);
  }
}

/** Pids of our own processes that have this text in their environment or command line. */
export async function pidsOf(dir: string, what: 'haproxy' | 'sh'): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
      if (name.trim() !== what) return [];
      const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
      return environment.split('\0').includes(`DIR=${dir}`) ? [Number(pid)] : [];
    }),
  );
  return found.flat();
}
