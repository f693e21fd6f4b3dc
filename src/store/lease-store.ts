import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import { keys } from './keys.ts';

/** What a holder learns each time it renews: whether it may go on. */
export type LeaseNews = { held: true; desired: number; cancel: string | undefined } | { held: false };

/**
 * The right to work on an app, for a limited time. Each holder gets a fencing number higher than every earlier one;
 * scripts that change the world of an app compare it, so that a holder who was away cannot do harm when it returns.
 */
export class LeaseStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** `owner` is random and used for one acquisition only. Busy: how long until the present holder's time ends. */
  async acquire(
    app: AppName,
    owner: string,
    ttlMs: number,
  ): Promise<{ fence: number } | { busyForMs: number }> {
    const [fence, busyForMs] = (await this.#redis.eval(
      acquireScript,
      2,
      keys.lease(app),
      keys.app(app),
      owner,
      ttlMs,
    )) as [number, number];
    return fence > 0 ? { fence } : { busyForMs };
  }

  /** Also when Redis let it end early, as it does when its clock is set forward, unless somebody had the app since. */
  async renew(app: AppName, owner: string, fence: number, ttlMs: number, number: number): Promise<LeaseNews> {
    const [held, desired, cancel] = (await this.#redis.eval(
      renewScript,
      3,
      keys.lease(app),
      keys.app(app),
      keys.deployment(app, number),
      owner,
      ttlMs,
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

const acquireScript = `
local leaseKey, appKey, owner, ttl = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local holder = redis.call('GET', leaseKey)
if holder and holder ~= owner then return {0, redis.call('PTTL', leaseKey)} end
redis.call('SET', leaseKey, owner, 'PX', ttl)
if holder == owner then return {tonumber(redis.call('HGET', appKey, 'fence')), 0} end
return {redis.call('HINCRBY', appKey, 'fence', 1), 0}
`;

const renewScript = `
local owner, ttl, fence = unpack(ARGV)
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= owner or redis.call('HGET', KEYS[2], 'fence') ~= fence then return {0, '', ''} end
redis.call('SET', KEYS[1], owner, 'PX', ttl)
return {1, redis.call('HGET', KEYS[2], 'desired') or '0', redis.call('HGET', KEYS[3], 'cancel') or ''}
`;

const releaseScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`;
