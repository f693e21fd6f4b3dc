import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AppName, parseAppName } from '../../src/domain/app.ts';
import { HealthStore } from '../../src/store/health-store.ts';
import { Outbox } from '../../src/store/outbox.ts';
import { temporaryRedis } from '../support/redis.ts';
import { until } from '../support/rig.ts';

let redis: Awaited<ReturnType<typeof temporaryRedis>>;
beforeAll(async () => {
  redis = await temporaryRedis();
});
afterAll(() => redis[Symbol.asyncDispose]());

const appNamed = (name: string): AppName => parseAppName(name) as AppName;
const seen = (restartCount: number, running = true, release = 1) => [
  { id: `c${release}`, release, running, restartCount },
];

async function told(app: AppName): Promise<string[]> {
  const events = (await new Outbox(redis.connect()).read()).filter((event) => event.app === app);
  return events.map(({ number, state, reason }) => `v${number} ${state}${reason ? `: ${reason}` : ''}`);
}

test('a crash is told once, and once that it is over', async () => {
  const app = appNamed('crashes');
  const store = new HealthStore(redis.connect(), 200);
  const restarts: number[] = [];
  for (const state of [seen(0), seen(2), seen(3, false), seen(3)])
    restarts.push(await store.look(app, state));
  expect(restarts).toEqual([0, 2, 1, 0]);
  expect(await told(app)).toEqual([
    'v1 crashed: a container of v1 ended by itself, 2 times so far, and is started again',
  ]);
  await until('it has stayed up', async () => {
    await store.look(app, seen(3));
    return (await told(app)).length === 2;
  });
  await store.look(app, seen(3));
  await store.look(app, seen(4));
  expect((await told(app)).slice(1)).toEqual([
    'v1 recovered',
    expect.stringMatching(/^v1 crashed: .* 4 times so far/),
  ]);
});

test('one that goes on and on is told of once more, with how it ended last, until it has stayed up for longer', async () => {
  const app = appNamed('loops');
  const store = new HealthStore(redis.connect(), 50);
  const how = 'it exited with code 3';
  for (const restarts of [0, 1, 2, 3, 4, 5])
    await store.look(app, [{ id: 'c1', release: 1, running: true, restartCount: restarts, how }]);
  const [crashed, looping, ...more] = await told(app);
  expect(crashed).toBe(
    `v1 crashed: a container of v1 ended by itself, once so far, and is started again (${how})`,
  );
  expect(looping).toMatch(
    /^v1 crash looping: v1 ends again and again, 4 times so far \(it exited with code 3\);/,
  );
  expect(more).toEqual([]);
  const began = performance.now();
  await until('it has stayed up', async () => {
    await store.look(app, seen(5));
    return (await told(app)).length === 3;
  });
  expect(performance.now() - began).toBeGreaterThan(100);
  expect((await told(app))[2]).toBe('v1 recovered');
});

test('what was before the first look is no news, and neither is a new release or a start by somebody', async () => {
  const app = appNamed('calm');
  const store = new HealthStore(redis.connect(), 0);
  await store.look(app, seen(7));
  await store.look(app, seen(7));
  await store.look(app, seen(0, true, 2));
  await store.look(app, seen(0, true, 2));
  expect(await told(app)).toEqual([]);
});

test('one that does not run has not recovered', async () => {
  const app = appNamed('down');
  const store = new HealthStore(redis.connect(), 0);
  for (const state of [seen(0), seen(1, false), seen(1, false), seen(1, false)]) await store.look(app, state);
  expect(await told(app)).toHaveLength(1);
  await store.look(app, seen(1));
  expect((await told(app))[1]).toBe('v1 recovered');
});
