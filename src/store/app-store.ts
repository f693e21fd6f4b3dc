import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { App, AppName } from '../domain/app.ts';
import { type AppOptions, readAppOptions } from '../domain/app-options.ts';
import { keys, type StoreEvent } from './keys.ts';
import type { Sealer } from './sealing.ts';

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

  async setEnv(app: AppName, changes: Readonly<Record<string, string>>): Promise<void> {
    const sealed = Object.entries(changes).map(([name, value]) => [
      name,
      this.#sealer.seal(value, context(app, name)),
    ]);
    if (sealed.length > 0)
      await this.#redis.hset(keys.env(app), Object.fromEntries(sealed) as Record<string, string>);
  }

  /** How many of the names existed. */
  async unsetEnv(app: AppName, names: readonly string[]): Promise<number> {
    return names.length === 0 ? 0 : this.#redis.hdel(keys.env(app), ...names);
  }

  /** A number of its own for each network of an app, from which its addresses are cut. The plain one is called ''. */
  async subnetIndex(app: AppName, taken: readonly number[], network = ''): Promise<number> {
    return (await this.#redis.eval(
      subnetScript,
      2,
      keys.app(app),
      keys.subnets,
      JSON.stringify(taken),
      network === '' ? 'subnet' : `subnet ${network}`,
    )) as number;
  }
}

function context(app: AppName, name: string): string {
  return `${app}\0${name}`;
}

const exchangeScript = `
local now = redis.call('HGET', KEYS[1], 'options') or ''
if now == ARGV[2] then return 1 end
if now ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'options', ARGV[2])
return 1
`;

/** Keeps the app's index unless it is in `taken` (its range overlaps somebody else's network); else gives the next free one. */
const subnetScript = `
local appKey, subnetsKey, taken, field = KEYS[1], KEYS[2], cjson.decode(ARGV[1]), ARGV[2]
local refused = {}
for _, index in ipairs(taken) do refused[tostring(index)] = true end
local mine = redis.call('HGET', appKey, field)
if mine and not refused[mine] then return tonumber(mine) end
local index = 0
while refused[tostring(index)] or redis.call('SISMEMBER', subnetsKey, index) == 1 do index = index + 1 end
redis.call('SADD', subnetsKey, index)
redis.call('HSET', appKey, field, index)
return index
`;
