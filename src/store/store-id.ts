import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Redis } from 'ioredis';
import { writeAtomically } from '../atomic-file.ts';
import { UserError } from '../errors.ts';
import { keys } from './keys.ts';
import { type Migration, migrateStore } from './migrations.ts';
import { knownEpoch } from './store-epoch.ts';

/** What the data folder knows of its store. */
export type StoreFiles = {
  storeId: string;
  storeEpoch: string;
  restoring: string;
};

/** The oldest first. A change of what the store holds that older versions wrote otherwise needs one. */
const migrations: readonly Migration[] = [];

/** Of what this Gantry keeps in its store. */
export const schema = migrations.at(-1)?.to ?? 1;

/**
 * Makes sure that this Redis is the one that belongs to the data folder, as it was last. An empty or foreign one must never
 * be taken for "there are no apps": every running container would look like an orphan. In an old one waits what has ended
 * long ago, and newer apps are not known.
 */
export async function checkStoreId(redis: Redis, files: StoreFiles): Promise<string> {
  const id = await identify(redis, files);
  if (await isOldStore(redis, files, id)) throw new Error(`${old}; ${whatToDo}`);
  await migrateStore(redis, migrations);
  return id;
}

const old =
  'Redis holds an older state of this Gantry than its data folder knows of: nothing is changed, and apps go on';
const whatToDo =
  'put its newer data back and start again, or go on with the older state: gantry accept-old-store';

/** Whether somebody put an earlier state of the store back, by other ways than `gantry restore`. */
export async function isOldStore(redis: Redis, { storeEpoch }: StoreFiles, id: string): Promise<boolean> {
  // First what the folder knows: both go on meanwhile.
  const known = knownEpoch(storeEpoch, id);
  return Number((await redis.hget(keys.meta, 'epoch')) ?? 0) < known;
}

/** From now on it is what the store is: to be called when nothing in it can run again. */
export async function acceptOld(redis: Redis, files: StoreFiles, id: string): Promise<void> {
  await redis.hset(keys.meta, 'epoch', knownEpoch(files.storeEpoch, id));
}

/** The id of the store, which may be an old state of it. */
export async function identify(redis: Redis, { storeId: file, restoring }: StoreFiles): Promise<string> {
  if (existsSync(restoring))
    throw new Error(`a backup was not restored to its end into ${dirname(file)}; type gantry restore again`);
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
  if (Number(found) > schema) throw new Error(tooNew(found));
  if (known === undefined && id) await writeAtomically(file, `${id}\n`);
  return id ?? '';
}

function tooNew(found: string | null | undefined): string {
  return `the data was written by a newer Gantry (schema ${found}, here ${schema}); upgrade this one`;
}

/**
 * Throws unless this Redis is still the store: somebody may have emptied it, or put another or an older one in its place,
 * while we run, or a newer version of us may have taken it over. To be asked between reading and acting: what was read before it
 * answers was true.
 */
export function ownStore(redis: Redis, id: string, { storeEpoch }: StoreFiles): () => Promise<void> {
  return async () => {
    const known = knownEpoch(storeEpoch, id);
    const [now, found, epoch] = await redis.hmget(keys.meta, 'id', 'schema', 'epoch');
    if (now === id && Number(found) > schema)
      throw new UserError('QUEUE_UNAVAILABLE', `nothing is changed: ${tooNew(found)}`);
    if (now === id && Number(epoch ?? 0) < known)
      throw new UserError('QUEUE_UNAVAILABLE', old, `end Gantry, then ${whatToDo}`);
    if (now === id) return;
    throw new UserError(
      'QUEUE_UNAVAILABLE',
      'Redis was emptied or is another one: nothing is changed until the data of this Gantry are back, and apps go on',
      'give it its data back, from a backup or by GANTRY_REDIS_URL, and start Gantry again',
    );
  };
}
