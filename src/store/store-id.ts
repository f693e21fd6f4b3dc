import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { keys } from './keys.ts';

const schema = 1;

/**
 * Makes sure that this Redis is the one that belongs to the data folder. An empty or foreign one must never be taken
 * for "there are no apps": every running container would look like an orphan.
 */
export async function checkStoreId(redis: Redis, file: string): Promise<string> {
  const known = existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined;
  if (known === undefined) {
    const fresh = randomUUID();
    await redis.hsetnx(keys.meta, 'id', fresh);
    await redis.hsetnx(keys.meta, 'schema', schema);
  }
  const [id, found] = await redis.hmget(keys.meta, 'id', 'schema');
  if (known !== undefined && id !== known) {
    throw new Error(
      id
        ? `this Redis belongs to another Gantry (${id}, expected ${known}); check GANTRY_DATA and GANTRY_REDIS_URL`
        : `Redis is empty but ${file} says it should not be; restore its data (or delete that file to start anew)`,
    );
  }
  if (Number(found) > schema)
    throw new Error(`the data was written by a newer Gantry (schema ${found}); upgrade this one`);
  if (known === undefined && id) {
    writeFileSync(`${file}.new`, `${id}\n`, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
  return id ?? '';
}
