import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AppName, parseAppName } from '../../src/domain/app.ts';
import { DeploymentStore } from '../../src/store/deployment-store.ts';
import { LeaseStore } from '../../src/store/lease-store.ts';
import { RouteChanges } from '../../src/store/route-changes.ts';
import { RouteStore } from '../../src/store/route-store.ts';
import { askFor, own as ownIt } from '../support/deployments.ts';
import { temporaryRedis } from '../support/redis.ts';

let redis: Awaited<ReturnType<typeof temporaryRedis>>;
let store: DeploymentStore;
let changes: RouteChanges;
let leases: LeaseStore;
let routes: RouteStore;
beforeAll(async () => {
  redis = await temporaryRedis();
  const connection = redis.connect();
  store = new DeploymentStore(connection);
  changes = new RouteChanges(connection);
  leases = new LeaseStore(connection);
  routes = new RouteStore(connection);
});
afterAll(() => redis[Symbol.asyncDispose]());

let count = 0;
const newApp = (): AppName => parseAppName(`app-${(count += 1)}`) as AppName;
const commitNamed = (letter: string) => letter.repeat(40) as never;

const ask = (app: AppName, letter: string, requestId?: string) => askFor(store, app, letter, requestId);
const own = (app: AppName) => ownIt(leases, app);

const image = (name: string) => ({ name, id: `sha256:${name}`, bytes: 1000 });

const endpoint = (release: number) => ({
  container: `c${release}`,
  address: `10.0.0.${release}`,
  port: 8080,
  release,
});

describe('asking for a deployment', () => {
  test('numbers them per app and remembers what was asked', async () => {
    const app = newApp();
    expect(await ask(app, 'a')).toEqual({ number: 1, attached: false });
    expect(await store.get(app, 1)).toMatchObject({
      state: 'queued',
      commit: commitNamed('a'),
      branch: 'main',
      by: 'ana',
      runs: 0,
    });
  });

  test('twice with one id makes one deployment, also after another one was asked for', async () => {
    const app = newApp();
    const id = randomUUID();
    await ask(app, 'a', id);
    await ask(app, 'b');
    expect(await ask(app, 'a', id)).toEqual({ number: 1, attached: false });
    expect(await store.list(app, 10)).toHaveLength(2);
  });

  test('for the commit that is on its way attaches to it', async () => {
    const app = newApp();
    await ask(app, 'a');
    expect(await ask(app, 'a')).toEqual({ number: 1, attached: true });
  });

  test('supersedes one that still waits, in its state and in its log', async () => {
    const app = newApp();
    await ask(app, 'a');
    await ask(app, 'b');
    expect(await store.get(app, 1)).toMatchObject({
      state: 'superseded',
      supersededBy: 2,
      reason: 'superseded by #2',
    });
    const log = await redis.connect().xrange(`gantry:log:${app}:1`, '-', '+');
    expect(log.map(([, fields]) => fields)).toEqual([['end', 'superseded']]);
  });
});

describe('running a deployment', () => {
  test('the newest is claimed; a stale fence gets nothing and changes nothing', async () => {
    const app = newApp();
    await ask(app, 'a');
    const stale = await own(app);
    await redis.connect().del(`gantry:lease:${app}`);
    const fence = await own(app);
    expect(await store.claim(app, stale, 3)).toBeUndefined();
    expect(await store.claim(app, fence, 3)).toMatchObject({ number: 1, state: 'running', runs: 1 });
    expect(await changes.switch(app, 1, stale, [endpoint(1)], image('image'))).toBe('stale');
    expect(await store.finish(app, 1, stale, { state: 'live' })).toBe(false);
    expect(await store.get(app, 1)).toMatchObject({ state: 'running', switched: false });
  });

  test('begun too often it fails and says so', async () => {
    const app = newApp();
    await ask(app, 'a');
    for (const runs of [1, 2, 3]) {
      await redis.connect().del(`gantry:lease:${app}`);
      expect(await store.claim(app, await own(app), 3)).toMatchObject({ runs });
    }
    await redis.connect().del(`gantry:lease:${app}`);
    expect(await store.claim(app, await own(app), 3)).toBeUndefined();
    expect(await store.get(app, 1)).toMatchObject({
      state: 'failed',
      reason: 'the worker died 3 times during this deployment',
    });
  });

  test('handed back it is queued again and the run does not count', async () => {
    const app = newApp();
    await ask(app, 'a');
    const fence = await own(app);
    await store.claim(app, fence, 3);
    await store.handBack(app, 1, fence);
    expect(await store.get(app, 1)).toMatchObject({ state: 'queued', runs: 0 });
    expect(await store.unsettled()).toContain(app);
  });

  test('a switch records release and route at once, and once', async () => {
    const app = newApp();
    await ask(app, 'a');
    const fence = await own(app);
    await store.claim(app, fence, 3);
    const first = await changes.switch(app, 1, fence, [endpoint(1)], image('image-1'));
    expect(await changes.switch(app, 1, fence, [endpoint(1)], image('image-1'))).toEqual(first);
    expect(await routes.get(app)).toMatchObject({ live: [endpoint(1)], draining: [] });
    await store.finish(app, 1, fence, { state: 'live' });

    await ask(app, 'b');
    await store.claim(app, fence, 3);
    await changes.switch(app, 2, fence, [endpoint(2)], image('image-2'));
    expect(await routes.get(app)).toMatchObject({ live: [endpoint(2)], draining: [endpoint(1)] });
    await routes.forgetDrained(app, endpoint(1), 'router');
    expect(await routes.get(app)).toMatchObject({ live: [endpoint(2)], draining: [] });
  });

  test('a switch can be taken back: what served before serves again', async () => {
    const app = newApp();
    await ask(app, 'a');
    const fence = await own(app);
    await store.claim(app, fence, 3);
    await changes.switch(app, 1, fence, [endpoint(1)], image('image-1'));
    await store.finish(app, 1, fence, { state: 'live' });
    await ask(app, 'b');
    await store.claim(app, fence, 3);
    await changes.switch(app, 2, fence, [endpoint(2)], image('image-2'));
    await changes.switchBack(app, 2, fence);
    await changes.switchBack(app, 2, fence);
    expect(await routes.get(app)).toMatchObject({ live: [endpoint(1)], draining: [endpoint(2)] });
    expect(await store.get(app, 2)).toMatchObject({ switched: false });
    expect(await redis.connect().hget(`gantry:app:${app}`, 'live')).toBe('1');
  });

  test('what serves can be paused: it comes back, also after a switch that is taken back, or is replaced', async () => {
    const app = newApp();
    const fence = await own(app);
    for (const number of [1, 2]) {
      await ask(app, String(number));
      await store.claim(app, fence, 3);
      if (number === 1) {
        await changes.switch(app, 1, fence, [endpoint(1)], image('image-1'));
        await store.finish(app, 1, fence, { state: 'live' });
      }
    }
    expect(await changes.pause(app, fence - 1)).toBe('stale');
    const paused = await changes.pause(app, fence);
    expect(await changes.pause(app, fence)).toEqual(paused);
    const gap = { live: [], draining: [endpoint(1)], paused: [endpoint(1)] };
    expect(await routes.get(app)).toMatchObject(gap);
    await routes.forgetDrained(app, endpoint(1), 'router');

    // On the network of the host, both have the same address.
    const next = { ...endpoint(2), address: endpoint(1).address };
    await changes.switch(app, 2, fence, [next], image('image-2'));
    expect(await routes.get(app)).toMatchObject({ live: [next], draining: [], paused: [] });
    await changes.switchBack(app, 2, fence);
    expect(await routes.get(app)).toMatchObject({ live: [], draining: [next], paused: [endpoint(1)] });
    expect(await store.unsettled()).toContain(app);

    expect(await changes.resume(app, fence - 1, ['c1'])).toBe('stale');
    const resumed = await changes.resume(app, fence, ['c1']);
    expect(await changes.resume(app, fence, ['c1'])).toEqual(resumed);
    expect(await routes.get(app)).toMatchObject({ live: [endpoint(1)], draining: [], paused: [] });
    await store.finish(app, 2, fence, { state: 'failed' });
    expect(await store.unsettled()).not.toContain(app);
  });

  test('a stop waits for a switch that is under way, empties the route, and outlives a switch that is taken back', async () => {
    const app = newApp();
    const fence = await own(app);
    expect(await changes.stop(app, fence)).toBe('not now');
    await ask(app, '1');
    await store.claim(app, fence, 3);
    await changes.switch(app, 1, fence, [endpoint(1)], image('image-1'));
    expect(await store.stop(app, 'ana')).toEqual([]);
    expect(await changes.stop(app, fence)).toBe('not now');
    await store.finish(app, 1, fence, { state: 'live' });
    expect(await store.unsettled()).toContain(app);
    expect(await changes.stop(app, fence - 1)).toBe('stale');
    const stopped = await changes.stop(app, fence);
    expect(await changes.stop(app, fence)).toEqual(stopped);
    const route = { live: [], draining: [endpoint(1)], stopped: true };
    expect(await routes.get(app)).toMatchObject(route);
    await changes.markStopped(app, fence);
    expect(await store.unsettled()).not.toContain(app);

    await ask(app, '2');
    await ask(app, '3');
    expect(await store.stop(app, 'ben')).toEqual([3]);
    expect(await store.get(app, 3)).toMatchObject({
      state: 'cancelled',
      reason: `cancelled: ${app} was stopped by ben`,
    });
    await ask(app, '4');
    await store.claim(app, fence, 3);
    await changes.switch(app, 4, fence, [endpoint(4)], image('image-4'));
    expect(await routes.get(app)).toMatchObject({ live: [endpoint(4)] });
    const field = () => redis.connect().hget(`gantry:app:${app}`, 'stopped');
    expect(await field()).toBeNull();
    await changes.switchBack(app, 4, fence);
    expect(await routes.get(app)).toMatchObject({ live: [], stopped: true });
    expect(await field()).toContain('ana');
  });

  test('one left by a dead worker after its switch is finished before a newer one begins', async () => {
    const app = newApp();
    await ask(app, 'a');
    const fence = await own(app);
    await store.claim(app, fence, 3);
    await changes.switch(app, 1, fence, [endpoint(1)], image('image-1'));
    await ask(app, 'b');
    await redis.connect().del(`gantry:lease:${app}`);
    const next = await own(app);
    expect(await store.claim(app, next, 3)).toMatchObject({ number: 1, switched: true });
    await store.finish(app, 1, next, { state: 'live' });
    expect(await store.claim(app, next, 3)).toMatchObject({ number: 2 });
  });

  test('one left by a dead worker before its switch gives way to a newer one', async () => {
    const app = newApp();
    await ask(app, 'a');
    await store.claim(app, await own(app), 3);
    await ask(app, 'b');
    await redis.connect().del(`gantry:lease:${app}`);
    expect(await store.claim(app, await own(app), 3)).toMatchObject({ number: 2 });
    expect(await store.get(app, 1)).toMatchObject({ state: 'superseded', supersededBy: 2 });
  });

  test('the end is written once and is the last record of the log', async () => {
    const app = newApp();
    await ask(app, 'a');
    const fence = await own(app);
    await store.claim(app, fence, 3);
    expect(await store.finish(app, 1, fence, { state: 'failed', reason: 'no' })).toBe(true);
    expect(await store.finish(app, 1, fence, { state: 'failed', reason: 'no' })).toBe(true);
    expect(await store.finish(app, 1, fence, { state: 'live' })).toBe(false);
    const log = await redis.connect().xrange(`gantry:log:${app}:1`, '-', '+');
    expect(log.map(([, fields]) => fields)).toEqual([['end', 'failed']]);
  });
});

describe('cancelling', () => {
  test('ends one that waits, and is too late after the switch', async () => {
    const app = newApp();
    await ask(app, 'a');
    expect(await store.cancel(app, 1, 'by ana')).toBe('cancelled');
    await ask(app, 'b');
    const fence = await own(app);
    await store.claim(app, fence, 3);
    await changes.switch(app, 2, fence, [endpoint(2)], image('image'));
    expect(await store.cancel(app, 2, 'by ana')).toBe('too late');
  });

  test('wins against a switch that comes after it, and against a worker that begins again', async () => {
    const app = newApp();
    await ask(app, 'a');
    const fence = await own(app);
    await store.claim(app, fence, 3);
    expect(await store.cancel(app, 1, 'by ana')).toBe('asked');
    expect(await changes.switch(app, 1, fence, [endpoint(1)], image('image'))).toEqual({
      cancelled: 'by ana',
    });
    expect(await store.claim(app, fence, 3)).toBeUndefined();
    expect(await store.get(app, 1)).toMatchObject({ state: 'cancelled', reason: 'cancelled: by ana' });
  });
});
