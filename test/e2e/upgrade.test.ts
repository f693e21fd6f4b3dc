import { join } from 'node:path';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { createLogger } from '../../src/logger.ts';
import { RedisProcess } from '../../src/store/redis-process.ts';
import { slowStep } from '../support/dockerfiles.ts';
import { resultOf } from '../support/git.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { Visitors } from '../support/visitor.ts';

/** `dist/cli.js` of an older version, to see that one's data taken over; else it is this version with an older store. */
const older = process.env.GANTRY_UPGRADE_FROM;

async function withStore<T>(rig: Rig, act: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis({ path: join(rig.dataDir, 'redis/redis.sock') });
  try {
    return await act(redis);
  } finally {
    redis.disconnect();
  }
}

async function ends(rig: Rig, app: string): Promise<string[]> {
  const { body } = await rig.api('GET', `/apps/${app}/deployments`);
  const { deployments } = JSON.parse(body) as { deployments: { number: number; state: string }[] };
  return deployments.map(({ number, state }) => `${number} ${state}`);
}

test('an older version is stopped with a build running and others queued: the new one loses nothing, and apps serve all the time', async () => {
  await using rig = await Rig.make({ GANTRY_CONCURRENCY: '1' });
  rig.explainFailures();
  const newer = rig.program;
  if (older !== undefined) rig.program = older;
  await rig.start();
  await using repo = await appRepository('web');
  await rig.setEnv('steady', { PASSWORD: 'sesame open' });
  await repo.push(await rig.pushUrl('steady'));
  const visitors = new Visitors(rig.httpPort, 'steady.localhost', 50);
  const dockerfile = `FROM gantry-test/node:1\n${slowStep(5)}\nCOPY . /app\nCMD ["node","/app/server.js"]\n`;
  await repo.commit({ version: 'two', Dockerfile: dockerfile });
  const building = repo.startPush(await rig.pushUrl('steady'));
  let said = '';
  building.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await until('it builds', () => said.includes('half-way'));
  await rig.setEnv('waiting', { PASSWORD: 'sesame shut' });
  const waiting = repo.startPush(await rig.pushUrl('waiting'));
  await until('one waits', async () => (await ends(rig, 'waiting')).includes('1 queued'));
  // A job in the words of nobody: it is passed over, and holds up nothing.
  await withStore(rig, async (redis) => {
    const queue = new Queue('deploy', { connection: redis, prefix: 'gantry:bull' });
    await queue.add('deploy', { id: 'waiting/1' }, { removeOnComplete: true });
    await queue.close();
  });
  const pushes = [resultOf(building), resultOf(waiting)];
  await rig.stop();
  await Promise.all(pushes);

  rig.program = newer;
  await rig.start();
  await until('all is live', async () => {
    const all = [...(await ends(rig, 'steady')), ...(await ends(rig, 'waiting'))];
    return all.every((end) => end.endsWith(' live'));
  });
  await expectNothingLeftBehind(rig);
  await visitors.leave();
  expect(visitors.failures).toEqual([]);
  expect(visitors.versions).toEqual(['one', 'two']);
  expect(await ends(rig, 'steady')).toEqual(['2 live', '1 live']);
  expect(await ends(rig, 'waiting')).toEqual(['1 live']);
  expect((await rig.request('steady', '/env')).body).toContain('sesame open');
  expect((await rig.request('waiting', '/env')).body).toContain('sesame shut');
}, 120_000);

test('the data of a newer version: nothing starts, one line says why, and the apps answer', async () => {
  await using rig = await Rig.start();
  rig.explainFailures();
  await using repo = await appRepository('page');
  await repo.push(await rig.pushUrl('shop'));
  await withStore(rig, (redis) => redis.hset('gantry:meta', 'schema', 99));
  // It was taken over while this one runs: whatever it would do is left to the newer one.
  const said =
    'nothing is changed: the data was written by a newer Gantry (schema 99, here 1); upgrade this one';
  await until('it says so', async () => (await rig.log()).includes(said));
  await repo.commit({ version: 'two' });
  const refused = await repo.push(await rig.pushUrl('shop'));
  expect(refused.stderr).toContain(said);
  expect(refused.code).not.toBe(0);
  const answer = await rig.api('GET', '/apps/shop/deployments');
  expect(answer).toMatchObject({ status: 503, body: expect.stringContaining(said) });
  await rig.stop();
  const end = await rig.failToStart();
  expect(end.stderr).toBe(
    'error: the data was written by a newer Gantry (schema 99, here 1); upgrade this one\n',
  );
  expect(end.code).toBe(1);
  expect((await rig.request('shop')).body).toBe('one');
  const redis = new RedisProcess(join(rig.dataDir, 'redis'), createLogger('silent', 'test'));
  await redis.start();
  await withStore(rig, (store) => store.hset('gantry:meta', 'schema', 1));
  await redis.stop();
  await rig.start();
  expect(await ends(rig, 'shop')).toEqual(['1 live']);
  expect((await repo.push(await rig.pushUrl('shop'))).stderr).toContain('shop v2 is live');
}, 60_000);
