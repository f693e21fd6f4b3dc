import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { App, AppName, AppTrouble } from '../domain/app.ts';
import { type AppOptions, readAppOptions } from '../domain/app-options.ts';
import type { RegistryLogin } from '../domain/registry-login.ts';
import { keys, type StoreEvent } from './keys.ts';
import type { Sealer } from './sealing.ts';
import { subnetIndex } from './subnet-index.ts';

/** Apps and their variables. Values are sealed before they reach Redis. */
export class AppStore {
  readonly #redis: Redis;
  readonly #sealer: Sealer;

  constructor(redis: Redis, sealer: Sealer) {
    this.#redis = redis;
    this.#sealer = sealer;
  }

  async list(): Promise<App[]> {
    const names = ((await this.#redis.smembers(keys.apps)) as AppName[]).sort();
    const apps = await Promise.all(names.map((name) => this.get(name)));
    return apps.filter((app) => app !== undefined);
  }

  async get(name: AppName): Promise<App | undefined> {
    if ((await this.#redis.sismember(keys.apps, name)) === 0) return undefined;
    const fields = await this.#redis.hgetall(keys.app(name));
    return {
      name,
      branch: fields.branch ?? '',
      live: fields.live ? Number(fields.live) : undefined,
      stopped: fields.stopped ? parseStopped(fields.stopped, fields.stopping === '1') : undefined,
      trouble: fields.trouble ? (JSON.parse(fields.trouble) as AppTrouble) : undefined,
      isDeleted: fields.deleting !== undefined,
      createdAt: new Date(fields.createdAt ?? 0),
    };
  }

  /** Fine when it exists already. */
  async create(name: AppName): Promise<void> {
    await this.#redis
      .multi()
      .hsetnx(keys.app(name), 'createdAt', new Date().toISOString())
      .sadd(keys.apps, name)
      .publish(keys.channel, JSON.stringify({ kind: 'route', app: name, version: 0 } satisfies StoreEvent))
      .exec();
  }

  /** `app_` and a UUID, given to an app once. */
  async id(app: AppName): Promise<string> {
    await this.#redis.hsetnx(keys.app(app), 'id', `app_${randomUUID()}`);
    return (await this.#redis.hget(keys.app(app), 'id')) ?? '';
  }

  async options(app: AppName): Promise<AppOptions> {
    return readAppOptions(await this.optionsText(app));
  }

  /** `change` is asked again when somebody else changed them meanwhile; what it throws changes nothing. */
  async changeOptions(app: AppName, change: (options: AppOptions) => AppOptions): Promise<AppOptions> {
    for (;;) {
      const before = await this.optionsText(app);
      const changed = change(readAppOptions(before));
      const after = JSON.stringify(changed);
      if ((await this.#redis.eval(exchangeScript, 1, keys.app(app), before, after)) === 1) return changed;
    }
  }

  async env(app: AppName): Promise<Record<string, string>> {
    return this.openEnv(app, await this.sealedEnv(app));
  }

  async sealedEnv(app: AppName): Promise<Record<string, string>> {
    return this.#redis.hgetall(keys.env(app));
  }

  /** As they are stored. */
  async optionsText(app: AppName): Promise<string> {
    return (await this.#redis.hget(keys.app(app), 'options')) ?? '';
  }

  /** Opens variables that were copied, still sealed, into a deployment. */
  openEnv(app: AppName, sealed: Readonly<Record<string, string>>): Record<string, string> {
    const env: Record<string, string> = Object.create(null) as Record<string, string>;
    for (const [name, token] of Object.entries(sealed))
      env[name] = this.#sealer.open(token, context(app, name));
    return env;
  }

  /** The app's login at a registry, for images of its own that are there. */
  async imageLogin(app: AppName, host: string): Promise<RegistryLogin | undefined> {
    const sealed = await this.#redis.hget(keys.imageLogins(app), host);
    if (!sealed) return undefined;
    const login = JSON.parse(this.#sealer.open(sealed, context(app, `image login ${host}`))) as {
      username: string;
      password: string;
    };
    return { host, ...login };
  }

  async setImageLogin(app: AppName, { host, username, password }: RegistryLogin): Promise<void> {
    const sealed = this.#sealer.seal(
      JSON.stringify({ username, password }),
      context(app, `image login ${host}`),
    );
    await this.#redis.hset(keys.imageLogins(app), host, sealed);
  }

  async forgetImageLogin(app: AppName, host: string): Promise<void> {
    await this.#redis.hdel(keys.imageLogins(app), host);
  }

  /** Changes with every change of a variable. */
  async envVersion(app: AppName): Promise<number> {
    return Number((await this.#redis.hget(keys.app(app), 'envVersion')) ?? 0);
  }

  /** All of it or, when the version is none of `versions` any more, nothing. Returns the new version. */
  async changeEnv(
    app: AppName,
    { set, unset }: { set: Readonly<Record<string, string>>; unset: readonly string[] },
    versions?: readonly number[],
  ): Promise<number | 'changed meanwhile'> {
    const sealed = Object.entries(set).flatMap(([name, value]) => [
      name,
      this.#sealer.seal(value, context(app, name)),
    ]);
    const version = (await this.#redis.eval(
      changeEnvScript,
      2,
      keys.env(app),
      keys.app(app),
      randomUUID(),
      JSON.stringify(versions ?? null),
      JSON.stringify(unset),
      ...sealed,
    )) as number;
    return version < 0 ? 'changed meanwhile' : version;
  }

  /** A number of its own for each network of an app, from which its addresses are cut. The plain one is called ''. */
  async subnetIndex(app: AppName, taken: readonly number[], network = ''): Promise<number> {
    return subnetIndex(this.#redis, keys.app(app), taken, network === '' ? 'subnet' : `subnet ${network}`);
  }
}

function parseStopped(text: string, isStopping: boolean): App['stopped'] {
  const { by, at } = JSON.parse(text) as { by: string; at: string };
  return { by, at: new Date(at), isDone: !isStopping };
}

function context(app: AppName, name: string): string {
  return `${app}\0${name}`;
}

const changeEnvScript = `
local envKey, appKey, change, wanted, unset = KEYS[1], KEYS[2], ARGV[1], cjson.decode(ARGV[2]), cjson.decode(ARGV[3])
local now = redis.call('HMGET', appKey, 'envVersion', 'envChange')
local version = tonumber(now[1]) or 0
if now[2] == change then return version end
if wanted ~= cjson.null then
  local isWanted = false
  for _, one in ipairs(wanted) do isWanted = isWanted or one == version end
  if not isWanted then return -1 end
end
for _, name in ipairs(unset) do redis.call('HDEL', envKey, name) end
for i = 4, #ARGV, 2 do redis.call('HSET', envKey, ARGV[i], ARGV[i + 1]) end
redis.call('HSET', appKey, 'envChange', change)
return redis.call('HINCRBY', appKey, 'envVersion', 1)
`;

const exchangeScript = `
local now = redis.call('HGET', KEYS[1], 'options') or ''
if now == ARGV[2] then return 1 end
if now ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'options', ARGV[2])
return 1
`;
