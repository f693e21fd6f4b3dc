import { cp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { page, slowStep } from '../support/dockerfiles.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { processesIn } from '../support/processes.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { startPush } from '../support/started-push.ts';
import { Visitors } from '../support/visitor.ts';

/** A build that takes its time, whatever is cached, and says when it is in the middle of it. */
async function states(rig: Rig, app: string): Promise<string[]> {
  const { body } = await rig.api('GET', `/apps/${app}/deployments`);
  const { deployments } = JSON.parse(body) as { deployments: { number: number; state: string }[] };
  return deployments.map(({ number, state }) => `${number} ${state}`);
}

test('an older file of Redis is put back by hand: no server starts and what serves goes on, until somebody accepts it; nothing runs again, no number is given twice', async () => {
  await using rig = await Rig.start();
  rig.explainFailures();
  await using repo = await appRepository('page');
  const url = await rig.pushUrl('shop');
  await repo.push(url);
  const redis = join(rig.dataDir, 'redis');
  const [older, newer] = [`${redis}.older`, `${redis}.newer`];

  await repo.commit({ version: 'two', Dockerfile: page(slowStep(3)) });
  const second = startPush(repo, url);
  await second.says('half-way');
  await cp(redis, older, { recursive: true, filter: (path) => !/\.(sock|pid|lock)$/.test(path) });
  expect((await second.result).stderr).toMatch(/success: shop v2 is live/);
  await using late = await appRepository('page');
  expect((await late.push(await rig.pushUrl('late'))).code).toBe(0);
  await repo.commit({ version: 'three', Dockerfile: page(slowStep(3)) });
  const third = startPush(repo, url);
  await third.says('half-way');
  await rig.stop();
  await third.result;

  await rename(redis, newer);
  await cp(older, redis, { recursive: true });
  const visitors = new Visitors(rig.httpPort, 'shop.localhost', 50);
  const refused = await rig.failToStart();
  expect(refused.stderr).toBe(
    'error: Redis holds an older state of this Gantry than its data folder knows of: nothing is changed, and apps go on; put its newer data back and start again, or go on with the older state: gantry accept-old-store\n',
  );
  expect(refused.code).toBe(1);
  expect(await processesIn(rig.dataDir, 'redis-server')).toEqual([]);
  expect((await rig.request('late')).body).toBe('one');
  await visitors.leave();
  expect(visitors.failures).toEqual([]);
  expect(visitors.requests).toBeGreaterThan(10);
  expect((await rig.request('shop')).body).toBe('two');

  // With the newer data it goes on where it was.
  await rm(redis, { recursive: true });
  await rename(newer, redis);
  await rig.start();
  expect((await rig.gantryHere('accept-old-store')).stderr).toMatch(/a Gantry runs on port/);
  await until('what was queued is live', async () => (await rig.request('shop')).body === 'three');
  await expectNothingLeftBehind(rig);
  await rig.stop();
  expect((await rig.gantryHere('accept-old-store')).stderr).toMatch(/there is nothing to accept/);

  await rm(redis, { recursive: true });
  await rename(older, redis);
  const accepted = await rig.gantryHere('accept-old-store');
  expect(accepted.stderr).toMatch(/^#2 of shop was under way then and is cancelled now$/m);
  expect(accepted.stderr).toMatch(/^late is newer than this state: gantry start removes its containers/m);
  expect(accepted.stderr).toMatch(/^the older state counts now, .*; type gantry start/m);
  expect(accepted.code).toBe(0);
  expect((await rig.request('shop')).body).toBe('three');
  await rig.start();
  await until('the release of then serves', async () => (await rig.request('shop')).body === 'one');
  expect((await late.push(await rig.pushUrl('late'))).stderr).toMatch(/success: late v2 is live/);
  await expectNothingLeftBehind(rig);
  expect(await states(rig, 'shop')).toEqual(['2 cancelled', '1 live']);
  await repo.commit({ version: 'four', Dockerfile: page(slowStep(0)) });
  expect((await repo.push(url)).stderr).toMatch(/success: shop v4 is live/);
  expect(await states(rig, 'shop')).toEqual(['4 live', '2 cancelled', '1 live']);
  expect((await rig.gantry('audit')).stdout).toMatch(/accept old store/);
}, 180_000);
