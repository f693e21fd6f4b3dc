import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import { type Domain, hostOf, isInternal } from '../domain/domain.ts';
import { keys, type StoreEvent } from './keys.ts';

/** The domains of apps besides the host name each has by its name. A domain is of one app. */
export class DomainStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /**
   * False: it is another app's, or others have its host under other paths and `mayShare` says no to one of them. Routers
   * look at once.
   */
  async add(app: AppName, domain: Domain, mayShare: (other: AppName) => boolean): Promise<boolean> {
    const host = hostOf(domain);
    for (const sharing = [app]; ; ) {
      const args = [domain, app, host, ...sharing];
      const other = (await this.#redis.eval(addScript, 1, keys.domains, ...args)) as AppName | '';
      if (other === '') break;
      if (sharing.includes(other) || !mayShare(other)) return false;
      sharing.push(other);
    }
    await this.#announce(app);
    return true;
  }

  /** False: the app has no such domain. */
  async remove(app: AppName, domain: Domain): Promise<boolean> {
    const removed = await this.#redis.eval(removeScript, 1, keys.domains, domain, app);
    if (removed === 1) await this.#announce(app);
    return removed === 1;
  }

  async list(app: AppName): Promise<string[]> {
    const all = Object.entries(await this.#redis.hgetall(keys.domains));
    return all.flatMap(([domain, owner]) => (owner === app ? [domain] : [])).sort();
  }

  /** The internal ones of all apps. */
  async internal(): Promise<{ domain: Domain; app: AppName }[]> {
    const all = Object.entries(await this.#redis.hgetall(keys.domains));
    return all
      .filter(([domain]) => isInternal(domain))
      .map(([domain, app]) => ({ domain: domain as Domain, app: app as AppName }));
  }

  async #announce(app: AppName): Promise<void> {
    const event: StoreEvent = { kind: 'route', app, version: 0 };
    await this.#redis.publish(keys.channel, JSON.stringify(event));
  }
}

/** Answers whom it stands in the way of: whose it is, or who has its host and is not known to share it. */
const addScript = `
local domain, app, host = ARGV[1], ARGV[2], ARGV[3]
local owner = redis.call('HGET', KEYS[1], domain)
if owner then return owner == app and '' or owner end
local shares = {}
for at = 4, #ARGV do shares[ARGV[at]] = true end
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local sameHost = all[at] == host or string.sub(all[at], 1, #host + 1) == host .. '/'
  if sameHost and not shares[all[at + 1]] then return all[at + 1] end
end
redis.call('HSET', KEYS[1], domain, app)
return ''
`;

const removeScript = `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
`;
