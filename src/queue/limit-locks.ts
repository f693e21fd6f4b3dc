import type { Redis } from 'ioredis';
import { keys } from '../store/keys.ts';

export type LockTimes = { lockDuration: number; stalledInterval: number };

/**
 * No lock of a queue lasts longer than it may. Redis keeps the moment it ends, so a clock that was set back by an hour makes
 * it an hour longer: for so long nobody would take up the job of a worker that has died since.
 */
export async function limitLocks(
  redis: Redis,
  queue: string,
  { lockDuration, stalledInterval }: LockTimes,
): Promise<void> {
  const start = `${keys.bull}:${queue}:`;
  await redis.eval(limitScript, 1, `${start}active`, start, lockDuration, stalledInterval);
}

const limitScript = `
local start, lockMs, stalledMs = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local function limit(key, ms)
  if redis.call('PTTL', key) > ms then redis.call('PEXPIRE', key, ms) end
end
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do limit(start .. id .. ':lock', lockMs) end
limit(start .. 'stalled-check', stalledMs)
return 1
`;
