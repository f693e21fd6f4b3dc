import { randomBytes, randomInt } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Docker from 'dockerode';
import { DockerodeEngine } from '../../src/docker/dockerode-engine.ts';
import type { BuildEvent, BuildRequest, BuildResult, StartResult } from '../../src/docker/engine.ts';
import { type ContainerSpec, labels } from '../../src/domain/container.ts';
import { baseImage, ensureBaseImage } from '../support/base-image.ts';

export const builders = ['buildkit', 'legacy'] as const;
export type Builder = (typeof builders)[number];
export type Files = Record<string, string | Buffer | { linkTo: string }>;
export type Build = { result: BuildResult; events: BuildEvent[]; lines: string[]; tag: string };

const label = 'gantry.test';

/** One test file's use of the real engine: everything made through it carries its label and goes when it is disposed. */
export class EngineRun {
  readonly id = randomBytes(5).toString('hex');
  readonly docker = new Docker({ socketPath: '/var/run/docker.sock', host: undefined, protocol: 'http' });
  readonly engine = new DockerodeEngine();
  readonly labels = { [label]: this.id, [labels.store]: this.id, [labels.app]: 'web' };
  readonly label = `${label}=${this.id}`;
  #count = 0;
  #folders: string[] = [];
  #network: Promise<{ name: string; prefix: string }> | undefined;

  static async start(): Promise<EngineRun> {
    await ensureBaseImage();
    return new EngineRun();
  }

  name(): string {
    this.#count += 1;
    return `gantry-test-${this.id}-${this.#count}`;
  }

  /**
   * A Dockerfile on the base image. The label marks what the legacy builder leaves of a failed build, the variable keeps
   * commands from being found in the cache of an earlier run.
   */
  dockerfile(...instructions: string[]): string {
    return [`FROM ${baseImage}`, `LABEL ${this.label}`, `ENV TEST_RUN=${this.id}`, ...instructions, ''].join(
      '\n',
    );
  }

  async folder(files: Files): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'gantry-context-'));
    this.#folders.push(folder);
    for (const [path, content] of Object.entries(files)) {
      await mkdir(join(folder, dirname(path)), { recursive: true });
      if (typeof content === 'object' && 'linkTo' in content)
        await symlink(content.linkTo, join(folder, path));
      else await writeFile(join(folder, path), content);
    }
    return folder;
  }

  async build(
    builder: Builder,
    files: Files,
    changes: Partial<BuildRequest> & {
      onEvent?: (event: BuildEvent) => Promise<void> | void;
      signal?: AbortSignal;
    } = {},
  ): Promise<Build> {
    const { onEvent, signal = new AbortController().signal, ...rest } = changes;
    const tag = `${this.name()}:1`;
    const events: BuildEvent[] = [];
    const request: BuildRequest = {
      contextDir: await this.folder(files),
      dockerfile: 'Dockerfile',
      builder,
      buildArgs: {},
      labels: this.labels,
      tag,
      noCache: false,
      ...rest,
    };
    const result = await this.engine.buildImage(
      request,
      async (event) => {
        events.push(event);
        await onEvent?.(event);
      },
      signal,
    );
    return { result, events, tag, lines: events.filter((e) => e.kind === 'output').map((e) => e.text) };
  }

  /** What a command prints in a container of the image, byte for byte. */
  async printed(image: string, command: string[], env: Record<string, string> = {}): Promise<Buffer> {
    const container = await this.docker.createContainer({
      Image: image,
      Cmd: command,
      Labels: this.labels,
      Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
      Tty: false,
    });
    const stream = await container.attach({ stream: true, stdout: true, stderr: true });
    const chunks: Buffer[] = [];
    const ended = (async () => {
      for await (const chunk of stream) chunks.push(Buffer.from(chunk));
    })();
    await container.start();
    await ended;
    await container.remove({ force: true });
    return unframed(Buffer.concat(chunks));
  }

  /** An image of the base with this command, made without a builder. */
  async image(cmd: string[]): Promise<string> {
    const repo = this.name();
    const container = await this.docker.createContainer({ Image: baseImage, Cmd: cmd, Labels: this.labels });
    await container.commit({ repo, tag: '1' });
    await container.remove();
    return `${repo}:1`;
  }

  async network(): Promise<{ name: string; prefix: string }> {
    this.#network ??= this.#makeNetwork();
    return await this.#network;
  }

  async #makeNetwork(): Promise<{ name: string; prefix: string }> {
    const name = this.name();
    for (let attempt = 0; attempt < 20; attempt++) {
      const prefix = `10.${randomInt(200, 250)}.${randomInt(0, 256)}`;
      if (await this.engine.ensureNetwork(name, `${prefix}.0/27`, this.labels)) return { name, prefix };
    }
    throw new Error('no free subnet found');
  }

  async spec(
    image: string,
    changes: Partial<ContainerSpec> & { host?: number } = {},
  ): Promise<ContainerSpec> {
    const { host = 10, ...rest } = changes;
    const { name, prefix } = await this.network();
    return {
      name: this.name(),
      image,
      labels: this.labels,
      env: {},
      network: name,
      address: `${prefix}.${host}`,
      pidsLimit: 100,
      ...rest,
    };
  }

  /** Starts a container of the base image that runs a shell script. */
  async start(script: string, changes: Partial<ContainerSpec> & { host?: number } = {}): Promise<string> {
    const image = await this.image(['sh', '-c', script]);
    return startedId(await this.engine.startContainer(await this.spec(image, changes)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine.close();
    const filters = { label: [this.label] };
    for (const { Id } of await this.docker.listContainers({ all: true, filters })) {
      await this.docker.getContainer(Id).remove({ force: true, v: true }).catch(ignoreMissing);
    }
    for (const { Id } of await this.docker.listNetworks({ filters })) {
      await this.docker.getNetwork(Id).remove().catch(ignoreMissing);
    }
    for (const { Id } of await this.docker.listImages({ filters })) {
      await this.docker.getImage(Id).remove({ force: true }).catch(ignoreMissing);
    }
    for (const folder of this.#folders) await rm(folder, { recursive: true, force: true });
  }
}

export function startedId(started: StartResult): string {
  if (!started.ok) throw new Error(`the container did not start: ${started.reason}`);
  return started.container;
}

export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  limitMs = 15_000,
): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${limitMs} ms`);
    await sleep(20);
  }
}

/** Ids of the processes on this host with exactly this command line. */
export async function processesRunning(command: string): Promise<number[]> {
  const found: number[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (commandLine.replaceAll('\0', ' ').trim() === command) found.push(Number(pid));
  }
  return found;
}

function ignoreMissing(error: unknown): void {
  if (
    error instanceof Error &&
    'statusCode' in error &&
    (error.statusCode === 404 || error.statusCode === 409)
  )
    return;
  throw error;
}

function unframed(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at + 8 <= bytes.length; ) {
    const end = at + 8 + bytes.readUInt32BE(at + 4);
    parts.push(bytes.subarray(at + 8, end));
    at = end;
  }
  return Buffer.concat(parts);
}
