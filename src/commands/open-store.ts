import type { Redis } from 'ioredis';
import { type Config, dataPaths } from '../config.ts';
import { createLogger } from '../logger.ts';
import { checkRedis, patientRedis } from '../store/redis.ts';
import { RedisProcess } from '../store/redis-process.ts';

/** The Redis of this data folder, for a command that works on it directly. The private one is started for it when nobody did. */
export async function openStore(config: Config): Promise<{ redis: Redis } & AsyncDisposable> {
  const own = config.redisUrl
    ? undefined
    : new RedisProcess(dataPaths(config.dataDir).redis, createLogger('silent', 'store'));
  const isAdopted = (await own?.start()) ?? true;
  const redis = patientRedis(config.redisUrl ? { url: config.redisUrl } : { socket: own?.socket ?? '' });
  const close = async (): Promise<void> => {
    redis.disconnect();
    if (isAdopted) own?.letGo();
    else await own?.stop();
  };
  try {
    await checkRedis(redis);
  } catch (error) {
    await close();
    throw error;
  }
  return { redis, [Symbol.asyncDispose]: close };
}
