import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { DockerodeEngine } from '../../src/docker/dockerode-engine.ts';
import type {
  BuildRequest,
  BuildResult,
  ImageFacts,
  PullRequest,
  PullResult,
  StartResult,
} from '../../src/docker/engine.ts';
import type { AppName } from '../../src/domain/app.ts';
import { type ContainerSpec, type ContainerState, labels } from '../../src/domain/container.ts';
import { type ImageReference, showImage } from '../../src/domain/image-reference.ts';
import { keys } from '../../src/store/keys.ts';

export type ScriptedContainer = ContainerState & { env: Readonly<Record<string, string>> };

export const engineKeys = {
  /** Name to container. */
  containers: 'engine:containers',
  /** Tag to labels. */
  images: 'engine:images',
  /** Nothing fails any more. */
  calm: 'engine:calm',
  /** There while an app is built. */
  building: (app: string) => `engine:building:${app}`,
  /** The newest fence that somebody worked on an app with, and since when. */
  turn: (app: string) => `engine:turn:${app}`,
  /** How often was asked what a tag means. */
  resolved: 'engine:resolved',
  /** What was done that should not have been. */
  wrong: 'engine:wrong',
};

/**
 * An engine of which only the effects are there, kept in Redis so that they outlive whoever asked for them. Some of what is
 * asked fails.
 */
export class ScriptedEngine {
  readonly #redis: Redis;
  readonly #fence: number | undefined;

  private constructor(redis: Redis, fence: number | undefined) {
    this.#redis = redis;
    this.#fence = fence;
  }

  /** For who holds the lease with that fence, or for tidying. What is not scripted is refused. */
  static over(redis: Redis, fence?: number): DockerodeEngine {
    const engine = new ScriptedEngine(redis, fence);
    return new Proxy(engine, {
      get: (target, name) => {
        const method: unknown = Reflect.get(target, name);
        if (typeof method === 'function') return method.bind(target) as unknown;
        if (name === 'then') return undefined;
        return () => Promise.reject(new Error(`the engine of the model has no ${String(name)}`));
      },
    }) as unknown as DockerodeEngine;
  }

  async buildImage(
    { tag, labels: marks }: BuildRequest,
    _: unknown,
    signal: AbortSignal,
  ): Promise<BuildResult> {
    const app = marks[labels.app] ?? '';
    await this.#noteTurn(app, `build of ${tag}`);
    if (!(await this.#isCalm())) {
      const takes = Math.ceil(Math.random() * 60);
      // Whoever is killed or sleeps in the middle is not at it any more when somebody else may come.
      const other = await this.#redis.set(engineKeys.building(app), tag, 'PX', takes, 'GET');
      if (other !== null) await this.#redis.sadd(engineKeys.wrong, `builds of ${other} and ${tag} at once`);
      try {
        await sleep(takes, undefined, { signal });
      } finally {
        await this.#redis.del(engineKeys.building(app));
      }
      if (Math.random() < 0.1) return { ok: false, reason: 'scripted' };
    }
    signal.throwIfAborted();
    await this.#redis.hset(engineKeys.images, tag, JSON.stringify(marks));
    return { ok: true, image: factsOf(tag), steps: 1, cachedSteps: 0 };
  }

  /** Every tag is moved all the time. */
  async resolveImage(reference: ImageReference): Promise<{ ok: true; digest: string }> {
    const count = await this.#redis.incr(engineKeys.resolved);
    const hash = createHash('sha256')
      .update(`${showImage(reference)} ${count}`)
      .digest('hex');
    return { ok: true, digest: `sha256:${hash}` };
  }

  async pullImage({ tag }: PullRequest, _: unknown, signal: AbortSignal): Promise<PullResult> {
    if (!(await this.#isCalm())) {
      await sleep(Math.random() * 60, undefined, { signal });
      if (Math.random() < 0.1) return { ok: false, reason: 'scripted' };
    }
    signal.throwIfAborted();
    await this.#redis.hset(engineKeys.images, tag, '{}');
    return { ok: true };
  }

  async architecture(): Promise<string> {
    return 'amd64';
  }

  async inspectImage(reference: string): Promise<ImageFacts | undefined> {
    if (!(await this.#redis.hexists(engineKeys.images, reference))) return undefined;
    return factsOf(reference);
  }

  async tagImage(reference: string, tag: string): Promise<boolean> {
    const marks = await this.#redis.hget(engineKeys.images, reference);
    if (marks !== null) await this.#redis.hset(engineKeys.images, tag, marks);
    return marks !== null;
  }

  async removeImage(reference: string): Promise<boolean> {
    await this.#redis.hdel(engineKeys.images, reference);
    return true;
  }

  async listImages(
    label: string,
    name: string,
  ): Promise<{ id: string; tags: string[]; labels: Record<string, string> }[]> {
    const all = Object.entries(await this.#redis.hgetall(engineKeys.images));
    return all
      .map(([tag, marks]) => ({ id: `sha256:${tag}`, tags: [tag], labels: parse(marks) }))
      .filter((image) => has(image.labels, label) || image.tags.some((tag) => tag.startsWith(`${name}:`)));
  }

  async startContainer(spec: ContainerSpec): Promise<StartResult> {
    const { name, image, labels: marks, env, address, network } = spec;
    await this.#noteTurn(marks[labels.app] ?? '', `start of ${name}`);
    await sleep(Math.random() * 5);
    if (!(await this.inspectImage(image))) return { ok: false, reason: `there is no image ${image}` };
    if (!(await this.#isCalm()) && Math.random() < 0.05) return { ok: false, reason: 'scripted' };
    const id = randomUUID();
    const container: ScriptedContainer = {
      id,
      name,
      labels: marks,
      env,
      running: true,
      isRestarting: false,
      restartCount: 0,
      isKept: false,
      outOfMemory: false,
      address,
      networks: { [network]: address },
    };
    await this.#redis.hset(engineKeys.containers, name, JSON.stringify(container));
    return { ok: true, container: id };
  }

  async listContainers(label: string): Promise<ContainerState[]> {
    const all = (await this.#redis.hvals(engineKeys.containers)).map(
      (text) => JSON.parse(text) as ContainerState,
    );
    return all.filter((container) => has(container.labels, label));
  }

  async inspect(id: string): Promise<ContainerState | undefined> {
    return (await this.listContainers('gantry.app')).find((container) => container.id === id);
  }

  async keep(id: string): Promise<void> {
    const container = await this.inspect(id);
    if (container)
      await this.#redis.hset(
        engineKeys.containers,
        container.name,
        JSON.stringify({ ...container, isKept: true }),
      );
  }

  async stopAndRemove(id: string): Promise<void> {
    const container = await this.inspect(id);
    if (!container) return;
    const route = keys.route(container.labels[labels.app] as AppName);
    const owned = [engineKeys.containers, route, engineKeys.wrong];
    await this.#redis.eval(removeScript, 3, ...owned, container.name, id);
  }

  async waitForExit(_: string, signal: AbortSignal): Promise<undefined> {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    throw signal.reason;
  }

  async ensureNetwork(): Promise<boolean> {
    return true;
  }

  async inspectNetwork(): Promise<{ subnet: string; containers: [] }> {
    return { subnet: '', containers: [] };
  }

  async lastOutput(): Promise<string[]> {
    return [];
  }

  async startFailure(): Promise<undefined> {}

  async trimBuildCache(): Promise<void> {}

  takeTrimmedBytes(): number {
    return 0;
  }

  /** Nobody works on an app after somebody with a newer lease has begun to. */
  async #noteTurn(app: string, what: string): Promise<void> {
    // The clock is the same for all processes, and stands still for none that is stopped.
    const now = Number(process.hrtime.bigint() / 1000n);
    if (this.#fence === undefined) return;
    await this.#redis.eval(turnScript, 2, engineKeys.turn(app), engineKeys.wrong, this.#fence, now, what);
  }

  async #isCalm(): Promise<boolean> {
    return (await this.#redis.exists(engineKeys.calm)) === 1;
  }
}

const turnScript = `
local fence, now = tonumber(ARGV[1]), tonumber(ARGV[2])
local newest, since = unpack(redis.call('HMGET', KEYS[1], 'fence', 'since'))
if not newest or fence > tonumber(newest) then return redis.call('HSET', KEYS[1], 'fence', fence, 'since', now) end
if fence < tonumber(newest) and now > tonumber(since) then
  redis.call('SADD', KEYS[2], ARGV[3] .. ' with the lease ' .. fence .. ' when ' .. newest .. ' was given')
end
return 0
`;

/** Another container may have the name by now. What serves is removed by nobody. */
const removeScript = `
local text, route = redis.call('HGET', KEYS[1], ARGV[1]), redis.call('GET', KEYS[2])
if not text or cjson.decode(text).id ~= ARGV[2] then return 0 end
for _, endpoint in ipairs(route and cjson.decode(route).live or {}) do
  if endpoint.container == ARGV[2] then redis.call('SADD', KEYS[3], ARGV[1] .. ' was removed while it served') end
end
return redis.call('HDEL', KEYS[1], ARGV[1])
`;

function parse(text: string): Record<string, string> {
  return JSON.parse(text) as Record<string, string>;
}

function has(marks: Readonly<Record<string, string>>, label: string): boolean {
  const [name = '', value] = label.split('=');
  return value === undefined ? name in marks : marks[name] === value;
}

function factsOf(name: string): ImageFacts {
  const facts = { bytes: 1, workingDir: '/', hasCommand: true, architecture: 'amd64', layers: 1 };
  return { ...facts, id: `sha256:${name}`, exposedPorts: [] };
}
