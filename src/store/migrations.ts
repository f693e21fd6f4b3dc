import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { keys } from './keys.ts';
import { removeKeys } from './snapshot.ts';
import { TurnStore } from './turn-store.ts';

/**
 * Makes what the schema before it left into what this one expects. It may be carried out twice, also by halves: whoever
 * did may have died.
 */
export type Migration = { to: number; migrate: (redis: Redis) => Promise<void> };

const turnMs = 30_000;
const renewMs = 10_000;

/**
 * Brings the store to the schema of this Gantry before anything of it is read. One process does it, the others wait.
 * The queue is emptied at the end: jobs are wake-ups in the words of the version that wrote them, and all of them are made
 * again from the rest.
 */
export async function migrateStore(redis: Redis, migrations: readonly Migration[]): Promise<void> {
  const newest = migrations.at(-1)?.to ?? 0;
  const turn = new TurnStore(redis, keys.migration);
  const owner = randomUUID();
  while ((await schemaOf(redis)) < newest) {
    if (!(await turn.hold(owner, turnMs))) {
      await sleep(100);
      continue;
    }
    const renewing = setInterval(() => void turn.hold(owner, turnMs).catch(() => {}), renewMs);
    try {
      for (const { to, migrate } of migrations) {
        if ((await schemaOf(redis)) >= to) continue;
        await migrate(redis);
        await removeKeys(redis, `${keys.bull}:*`);
        await redis.hset(keys.meta, 'schema', to);
      }
    } finally {
      clearInterval(renewing);
      await turn.letGo(owner);
    }
  }
}

async function schemaOf(redis: Redis): Promise<number> {
  return Number((await redis.hget(keys.meta, 'schema')) ?? 1);
}
