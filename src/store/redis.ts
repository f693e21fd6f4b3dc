import { Redis, type RedisOptions } from 'ioredis';
import { isRedisTrouble, redisRefusal, UserError } from '../errors.ts';

/** A Redis by URL, or the private one by the path of its unix socket. */
export type RedisAddress = { url: string } | { socket: string };

export const prefix = 'gantry';

const firstAnswerTimeoutMs = 10_000;

const retryStrategy = (attempt: number): number => Math.min(100 * attempt, 2000);

function connect(address: RedisAddress, options: RedisOptions): Redis {
  const redis =
    'url' in address
      ? new Redis(address.url, { retryStrategy, ...options })
      : new Redis({ path: address.socket, retryStrategy, ...options });
  // Without a listener ioredis prints every failed attempt; whoever awaits a command learns of it anyway.
  redis.on('error', (error) => troubles.set(redis, error)).on('ready', () => troubles.delete(redis));
  return redis;
}

const troubles = new WeakMap<Redis, Error>();

/** Writes something that nobody reads. Throws with a sentence for people when that is not possible. */
export async function assertWritable(redis: Redis): Promise<void> {
  try {
    await redis.set(`${prefix}:probe`, '', 'PX', 1000);
  } catch (error) {
    throw queueUnavailable(redis, error);
  }
}

/** While there is no connection, only its last attempt knows why. */
export function storeRefusal(redis: Redis, error: unknown): ReturnType<typeof redisRefusal> {
  return redisRefusal(error) ?? (isRedisTrouble(error) ? redisRefusal(troubles.get(redis)) : undefined);
}

/** For people: why Redis did not do what they asked for, and `advice` unless that says what to do. */
export function queueUnavailable(redis: Redis, error: unknown, advice = 'try again in a minute'): UserError {
  const refusal = storeRefusal(redis, error);
  const because = refusal ? `: ${refusal.reason}` : '';
  return new UserError(
    'QUEUE_UNAVAILABLE',
    `the deploy queue is unavailable${because}; running apps are not affected`,
    refusal?.fix ?? advice,
  );
}

/**
 * For work that waits for Redis to come back: workers, readers, blocking commands, none of which blocks for half as long.
 * A network that forgot the connection does not say so; the system would notice after a quarter of an hour.
 */
export function patientRedis(address: RedisAddress): Redis {
  return connect(address, { maxRetriesPerRequest: null, socketTimeout: 20_000 });
}

/**
 * For answering people: fails within two seconds when Redis is away.
 * Never add `skipWaitingForReady`: with the offline queue off, BullMQ then never initialises.
 */
export function hastyRedis(address: RedisAddress): Redis {
  const options = { maxRetriesPerRequest: 1, commandTimeout: 2000, socketTimeout: 5000 };
  return connect(address, { ...options, enableOfflineQueue: false });
}

/** A patient connection would wait for ever for a Redis that is not there. */
async function firstAnswer(redis: Redis): Promise<string> {
  let trouble = '';
  const note = (error: Error): void => {
    trouble = ` (${error.message})`;
  };
  redis.on('error', note);
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const { path, host, port } = redis.options;
      reject(
        new Error(`Redis does not answer at ${path ?? `${host}:${port}`}${trouble}; check GANTRY_REDIS_URL`),
      );
    }, firstAnswerTimeoutMs);
  });
  try {
    return await Promise.race([redis.info(), deadline]);
  } finally {
    clearTimeout(timer);
    redis.off('error', note);
  }
}

/** Refuses a Redis that would lose deployments; returns warnings about one that might. */
export async function checkRedis(redis: Redis): Promise<string[]> {
  const info = await firstAnswer(redis);
  const field = (name: string): string => new RegExp(`^${name}:(.*)$`, 'm').exec(info)?.[1]?.trim() ?? '';
  const [major = 0, minor = 0] = field('redis_version').split('.').map(Number);
  if (major < 6 || (major === 6 && minor < 2))
    throw new Error(`Redis ${field('redis_version')} is too old; 6.2 or newer is needed`);
  if (field('maxmemory_policy') !== 'noeviction') {
    throw new Error(
      `Redis may evict keys (maxmemory-policy ${field('maxmemory_policy')}), which loses deployments; set it to noeviction`,
    );
  }
  if (field('role') !== 'master') throw new Error(`Redis is a ${field('role')}, Gantry needs the master`);
  const warnings: string[] = [];
  if (field('aof_enabled') === '0')
    warnings.push('Redis runs without an append-only file: a crash loses the latest deployments');
  if (field('aof_last_write_status') !== 'ok')
    warnings.push('Redis cannot write its append-only file: check its disk');
  const [used, most] = [Number(field('used_memory')), Number(field('maxmemory'))];
  if (most > 0 && used > 0.9 * most)
    warnings.push(
      `Redis uses ${Math.round((100 * used) / most)} % of the memory it may have (maxmemory): when it is full, nothing can be deployed`,
    );
  return warnings;
}
