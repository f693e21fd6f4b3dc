import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import type { DomainName } from '../domain/domain-name.ts';
import { keys, type StoreEvent } from './keys.ts';

/** The host names of apps besides the one each has by its name. A host name is of one app. */
export class DomainStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Returns whose it is, which may be another app's already. Routers look at once. */
  async add(app: AppName, domain: DomainName): Promise<AppName> {
    const owner = (await this.#redis.eval(addScript, 1, keys.domains, domain, app)) as AppName;
    if (owner === app) await this.#announce(app);
    return owner;
  }

  /** False: the app has no such domain. */
  async remove(app: AppName, domain: DomainName): Promise<boolean> {
    const removed = await this.#redis.eval(removeScript, 1, keys.domains, domain, app);
    if (removed === 1) await this.#announce(app);
    return removed === 1;
  }

  async list(app: AppName): Promise<string[]> {
    const all = Object.entries(await this.#redis.hgetall(keys.domains));
    return all.flatMap(([domain, owner]) => (owner === app ? [domain] : [])).sort();
  }

  async #announce(app: AppName): Promise<void> {
    const event: StoreEvent = { kind: 'route', app, version: 0 };
    await this.#redis.publish(keys.channel, JSON.stringify(event));
  }
}

const addScript = `
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
return redis.call('HGET', KEYS[1], ARGV[1])
`;

const removeScript = `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
`;
