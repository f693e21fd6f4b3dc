import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type HaproxySettings,
  haproxyPaths,
  renderConfig,
  renderHosts,
} from '../../../src/router/haproxy-config.ts';
import { HaproxyProcess } from '../../../src/router/haproxy-process.ts';
import { HaproxyRuntime } from '../../../src/router/haproxy-runtime.ts';
import { pageFiles } from '../../../src/router/pages.ts';
import type { Slot } from '../../../src/router/slots.ts';
import { freePort, tempDir } from './rig.ts';
import type { Upstream } from './upstream.ts';

export type Change = (config: string) => string;

/** An HAProxy with our configuration for the one app `blog`, changed by the test: to show what a line of it is for. */
export class RawHaproxy {
  readonly port: number;
  readonly runtime: HaproxyRuntime;
  readonly process: HaproxyProcess;
  readonly #settings: HaproxySettings;
  readonly #change: Change;

  private constructor(settings: HaproxySettings & { httpPort: number }, change: Change) {
    this.port = settings.httpPort;
    this.#settings = settings;
    this.#change = change;
    this.runtime = new HaproxyRuntime(haproxyPaths(settings.dir));
    this.process = new HaproxyProcess(settings.dir, this.runtime);
  }

  static async start(slots: readonly Slot[], change: Change = (config) => config): Promise<RawHaproxy> {
    const { path: dir } = await tempDir();
    const settings = { dir, httpPort: await freePort(), bindAddress: '*', openFiles: 4_000 };
    const haproxy = new RawHaproxy(settings, change);
    const paths = haproxyPaths(dir);
    await mkdir(paths.pages);
    for (const [name, text] of pageFiles()) await writeFile(join(paths.pages, name), text);
    await writeFile(paths.hosts, renderHosts(new Map([['blog.test', 'blog']])));
    await haproxy.write(slots);
    await haproxy.process.start('haproxy');
    return haproxy;
  }

  async write(slots: readonly Slot[], httpPort = this.port): Promise<void> {
    const config = renderConfig({ ...this.#settings, httpPort }, new Map([['blog', slots]]), new Map());
    await writeFile(haproxyPaths(this.#settings.dir).config, this.#change(config));
  }

  async reload(slots: readonly Slot[]): Promise<void> {
    await this.write(slots);
    await this.process.reload();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process.stop();
    await rm(this.#settings.dir, { recursive: true, force: true });
  }
}

export function slotFor({ endpoint }: Upstream, use: 'live' | 'draining' = 'live'): Slot {
  return { use, address: endpoint.address, port: endpoint.port };
}

export function without(pattern: RegExp): Change {
  return (config) => {
    const changed = config
      .split('\n')
      .filter((line) => !pattern.test(line))
      .join('\n');
    if (changed === config) throw new Error(`nothing in the configuration matches ${pattern}`);
    return changed;
  };
}
