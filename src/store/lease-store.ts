import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import { keys } from './keys.ts';

/** What a holder learns each time it renews: whether it may go on. */
export type LeaseNews = { held: true; desired: number; cancel: string | undefined } | { held: false };

/**
 * The right to work on an app, for a limited time. Each holder gets a fencing number higher than every earlier one;
 * scripts that change the world of an app compare it, so that a holder who was away cannot do harm when it returns.
 *
 * Clocks jump, and that of Redis is one of them: whoever wants an app measures with its own, which does not, for how long its
 * holder has given no sign of life.
 */
export class LeaseStore {
  readonly #redis: Redis;
  /** The latest sign of life of those whom we wait for, and when it was seen first. */
  readonly #seen = new Map<AppName, { sign: string; at: number }>();
  #signs = 0;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /**
   * `owner` is random and used for one acquisition only. Busy: how long until the present holder's time ends, as far as is
   * known.
   */
  async acquire(
    app: AppName,
    owner: string,
    ttlMs: number,
  ): Promise<{ fence: number } | { busyForMs: number }> {
    const seen = this.#seen.get(app);
    const isOver = seen !== undefined && performance.now() - seen.at >= ttlMs;
    const [fence, sign] = (await this.#redis.eval(
      acquireScript,
      2,
      keys.lease(app),
      keys.app(app),
      owner,
      isOver ? seen.sign : '',
    )) as [number, string];
    if (fence > 0) {
      this.#seen.delete(app);
      return { fence };
    }
    return { busyForMs: Math.max(0, this.#note(app, sign) + ttlMs - performance.now()) };
  }

  /** Begins to measure for how long its holder has given no sign of life, before there is a reason to want the app. */
  async look(app: AppName): Promise<void> {
    const sign = await this.#redis.get(keys.lease(app));
    if (sign === null) this.#seen.delete(app);
    else this.#note(app, sign);
  }

  /** Since when the sign is known. */
  #note(app: AppName, sign: string): number {
    const seen = this.#seen.get(app);
    const at = seen?.sign === sign ? seen.at : performance.now();
    this.#seen.set(app, { sign, at });
    return at;
  }

  /** Also when Redis has forgotten it, unless somebody had the app since. */
  async renew(app: AppName, owner: string, fence: number, number: number): Promise<LeaseNews> {
    this.#signs += 1;
    const [held, desired, cancel] = (await this.#redis.eval(
      renewScript,
      3,
      keys.lease(app),
      keys.app(app),
      keys.deployment(app, number),
      owner,
      this.#signs,
      fence,
    )) as [number, string, string];
    return held === 1
      ? { held: true, desired: Number(desired), cancel: cancel || undefined }
      : { held: false };
  }

  async release(app: AppName, owner: string): Promise<void> {
    await this.#redis.eval(releaseScript, 1, keys.lease(app), owner);
  }
}

/** A lease is who has it and a sign of life, which differs each time. */
const holderInLua = `
local function holderOf(lease) return lease and string.match(lease, '^[^ ]*') end
`;

const acquireScript = `${holderInLua}
local leaseKey, appKey, owner, over = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local lease = redis.call('GET', leaseKey)
if holderOf(lease) == owner then return {tonumber(redis.call('HGET', appKey, 'fence')), ''} end
if lease and lease ~= over then return {0, lease} end
redis.call('SET', leaseKey, owner)
return {redis.call('HINCRBY', appKey, 'fence', 1), ''}
`;

const renewScript = `${holderInLua}
local owner, sign, fence = unpack(ARGV)
local holder = holderOf(redis.call('GET', KEYS[1]))
if holder and holder ~= owner or redis.call('HGET', KEYS[2], 'fence') ~= fence then return {0, '', ''} end
redis.call('SET', KEYS[1], owner .. ' ' .. sign)
return {1, redis.call('HGET', KEYS[2], 'desired') or '0', redis.call('HGET', KEYS[3], 'cancel') or ''}
`;

const releaseScript = `${holderInLua}
if holderOf(redis.call('GET', KEYS[1])) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`;
