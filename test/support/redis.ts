import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { createLogger } from '../../src/logger.ts';
import { patientRedis, type RedisAddress } from '../../src/store/redis.ts';
import { RedisProcess } from '../../src/store/redis-process.ts';

/** A private Redis for one test file, as the product starts it. */
export async function temporaryRedis() {
  const dir = await mkdtemp(join(tmpdir(), 'gredis-'));
  const process = new RedisProcess(dir, createLogger('silent', 'test'));
  await process.start();
  const address: RedisAddress = { socket: process.socket };
  const open: Redis[] = [];
  return {
    dir,
    process,
    address,
    connect: (): Redis => {
      const redis = patientRedis(address);
      open.push(redis);
      return redis;
    },
    [Symbol.asyncDispose]: async () => {
      for (const redis of open) redis.disconnect();
      await process.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
