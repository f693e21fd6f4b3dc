import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { AppName } from '../../src/domain/app.ts';
import { DeploymentStore } from '../../src/store/deployment-store.ts';
import { keys } from '../../src/store/keys.ts';
import { LeaseStore } from '../../src/store/lease-store.ts';
import { emptyStore, isEmptyStore, putBack, takeSnapshot } from '../../src/store/snapshot.ts';
import { askFor, own } from '../support/deployments.ts';
import { temporaryRedis } from '../support/redis.ts';

const app = 'shop' as AppName;
let redis: Awaited<ReturnType<typeof temporaryRedis>>;
beforeAll(async () => {
  redis = await temporaryRedis();
});
afterAll(() => redis[Symbol.asyncDispose]());
beforeEach(() => redis.connect().flushall());

test('what comes back is what was there, but for what only processes that run are', async () => {
  const client = redis.connect();
  await client.hset(keys.app(app), 'live', '1', 'zero', '\0\xff');
  await client.sadd(keys.apps, app);
  await client.zadd(keys.releases(app), 1, '1');
  await client.xadd(keys.log(app, 1), '1-1', 't', 'a line');
  await client.set(keys.request('r'), '1', 'PX', 50_000);
  await client.set('of somebody else', 'x');
  await client.set(keys.lease(app), 'a worker');
  await client.sadd(keys.routers, 'main');
  await client.hset(keys.router('main'), app, '7');
  await client.set(`${keys.bull}:deploy:1`, 'a job');
  const taken = await takeSnapshot(client);
  await emptyStore(client);
  expect(await isEmptyStore(client)).toBe(true);
  await putBack(client, taken);
  expect((await client.keys('*')).toSorted()).toEqual(
    [
      keys.app(app),
      keys.apps,
      keys.releases(app),
      keys.log(app, 1),
      keys.request('r'),
      'of somebody else',
    ].toSorted(),
  );
  expect(await client.hgetall(keys.app(app))).toEqual({ live: '1', zero: '\0\xff' });
  expect(await client.xrange(keys.log(app, 1), '-', '+')).toEqual([['1-1', ['t', 'a line']]]);
  expect(await client.pttl(keys.request('r'))).toBeGreaterThan(0);
  expect(await client.pttl(keys.app(app))).toBe(-1);
});

test('Redis is held up for less than half a second by 10 000 deployments', async () => {
  const client = redis.connect();
  const env = JSON.stringify({ PASSWORD: `v1.aaaaaaaa.${'x'.repeat(1000)}` });
  const filling = client.pipeline();
  for (let number = 1; number <= 10_000; number += 1)
    filling.hset(keys.deployment(app, number), 'state', 'live', 'commit', 'a'.repeat(40), 'env', env);
  await filling.exec();
  await client.config('SET', 'slowlog-log-slower-than', '0');
  await client.slowlog('RESET');
  expect(await takeSnapshot(client)).toHaveLength(10_000);
  const log = (await client.slowlog('GET', 10)) as [number, number, number, string[]][];
  const micros = log.find(([, , , command]) => command[0] === 'EVAL')?.[2] ?? Number.NaN;
  expect(micros).toBeLessThan(500_000);
});

test('in a restored store nothing is under way: what had switched is live, the rest is cancelled and says why', async () => {
  const client = redis.connect();
  const store = new DeploymentStore(client);
  const leases = new LeaseStore(client);
  await askFor(store, app, 'a');
  await store.claim(app, await own(leases, app), 3);
  await askFor(store, app, 'b');
  expect(await store.endRestored(app, 'it was restored')).toEqual([1, 2]);
  const states = await Promise.all([1, 2].map((number) => store.get(app, number)));
  expect(states).toMatchObject([
    { state: 'cancelled', reason: 'cancelled: it was restored' },
    { state: 'cancelled', reason: 'cancelled: it was restored' },
  ]);
  expect(await store.endRestored(app, 'again')).toEqual([]);
  await client.del(keys.lease(app));
  await askFor(store, app, 'c');
  await store.claim(app, await own(leases, app), 3);
  await client.hset(keys.deployment(app, 3), 'switched', '1');
  expect(await store.endRestored(app, 'it was restored')).toEqual([3]);
  expect(await store.get(app, 3)).toMatchObject({ state: 'live', reason: undefined });
  expect(await store.unsettled()).toEqual([]);

  await store.skipNumbers(app, 7);
  await store.skipNumbers(app, 5);
  expect((await askFor(store, app, 'd')).number).toBe(8);
});
