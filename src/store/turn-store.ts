import type { Redis } from 'ioredis';

/** The right of one process among several to do something, for a limited time. */
export class TurnStore {
  readonly #redis: Redis;
  readonly #key: string;

  constructor(redis: Redis, key: string) {
    this.#redis = redis;
    this.#key = key;
  }

  /** Takes it when nobody has it, and keeps it for longer when `owner` has it. */
  async hold(owner: string, ttlMs: number): Promise<boolean> {
    return (await this.#redis.eval(holdScript, 1, this.#key, owner, ttlMs)) === 1;
  }

  async letGo(owner: string): Promise<void> {
    await this.#redis.eval(letGoScript, 1, this.#key, owner);
  }
}

const holdScript = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  -- It began before the clock was set back.
  if redis.call('PTTL', KEYS[1]) > tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`;

const letGoScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`;
