import type { Redis } from 'ioredis';
import { keys } from './keys.ts';

/** When the store was backed up, for who asks how old the last backup is. */
export async function noteBackup(redis: Redis, at: Date): Promise<void> {
  await redis.hset(keys.meta, 'backupAt', at.toISOString());
}

export async function lastBackup(redis: Redis): Promise<Date | undefined> {
  const at = await redis.hget(keys.meta, 'backupAt');
  return at ? new Date(at) : undefined;
}
