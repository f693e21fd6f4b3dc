import { join } from 'node:path';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { appRepository, Rig, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '10', GANTRY_DRAIN_TIMEOUT: '20' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

type Shown = { live: number | null; state: string; stopped: { by: string; at: string } | null };

async function shown(app: string): Promise<Shown> {
  return JSON.parse((await rig.api('GET', `/apps/${app}`)).body) as Shown;
}

async function containersOf(app: string): Promise<string[]> {
  const label = [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`];
  const listed = await localDocker().listContainers({ all: true, filters: { label } });
  return listed.map(({ Id }) => Id);
}

async function deployed(app: string) {
  const repo = await appRepository('web');
  await rig.setEnv(app, {});
  expect((await repo.push(await rig.pushUrl(app))).code).toBe(0);
  return repo;
}

describe('gantry stop', () => {
  test('lets requests in flight finish, removes the containers and tells visitors; it stays so until a start', async () => {
    await using repo = await deployed('shop');
    await rig.setEnv('shop', { COLOUR: 'green' });
    const slow = rig.request('shop', '/slow?ms=3000');
    await until('it is in flight', async () => (await rig.request('shop')).status === 200);
    const stop = await rig.gantry('stop', 'shop');
    expect(stop).toMatchObject({ code: 0, stdout: '' });
    expect(stop.stderr).toContain('shop is stopped and its visitors are told so');
    expect(await slow).toMatchObject({ status: 200, body: 'one' });
    expect(await containersOf('shop')).toEqual([]);
    const page = await rig.request('shop');
    expect(page.status).toBe(503);
    expect(page.body).toContain('This app is stopped');
    expect(await shown('shop')).toMatchObject({ live: 1, state: 'stopped', stopped: { by: 'admin' } });
    expect((await rig.gantry('apps')).stdout).toMatch(/^shop +v1 \(stopped\) /m);
    // Whoever stops twice is not told off.
    expect((await rig.gantry('stop', '--app', 'shop')).code).toBe(0);

    await rig.stop();
    await rig.start();
    await until('the reconciler looked', async () => (await rig.log()).includes('worker started'));
    expect((await rig.request('shop')).body).toContain('This app is stopped');
    expect(await containersOf('shop')).toEqual([]);

    const start = await rig.gantry('start', 'shop');
    expect(start.stdout).toMatch(/Deploy #2 of shop: [0-9a-f]{7} "An app: web", started/);
    expect(start.stdout).toContain('GET / -> 200');
    expect(start.stdout).not.toContain('Building');
    expect(start.code).toBe(0);
    expect(JSON.parse((await rig.request('shop', '/env')).body)).toMatchObject({ COLOUR: 'green' });
    expect(await shown('shop')).toMatchObject({ live: 2, state: 'live', stopped: null });
    const again = await rig.gantry('start', '--app', 'shop');
    expect(again).toMatchObject({ code: 0, stderr: 'shop runs already, as v2\n' });
    const { stdout } = await rig.gantry('audit', '--app', 'shop');
    expect(stdout).toMatch(/start app[^]*stop app/);

    await repo.commit({ version: 'two' });
    expect((await repo.push(await rig.pushUrl('shop'))).code).toBe(0);
    expect((await rig.request('shop')).body).toBe('two');
  });

  test('is undone by a push, but not by one that fails', async () => {
    await using repo = await deployed('pushed');
    expect((await rig.gantry('stop', 'pushed')).code).toBe(0);
    await repo.commit({ version: 'bad', 'server.js': 'process.exit(7)' });
    const bad = await repo.push(await rig.pushUrl('pushed'));
    expect(bad.stderr).toContain('it exited with code 7');
    expect(bad.stderr).not.toContain('still serving');
    expect(bad.code).toBe(1);
    expect(await shown('pushed')).toMatchObject({ live: 1, state: 'stopped' });
    expect((await rig.request('pushed')).body).toContain('This app is stopped');

    await repo.git('reset', '-q', '--hard', 'HEAD~1');
    await repo.commit({ version: 'two' });
    const push = await repo.push(await rig.pushUrl('pushed'));
    expect(push.stderr).toContain('Opening traffic to v3');
    expect(push.code).toBe(0);
    expect((await rig.request('pushed')).body).toBe('two');
    expect(await shown('pushed')).toMatchObject({ live: 3, state: 'live' });
  });

  test('cancels a deployment that is not past its switch, and says so on both sides', async () => {
    await using repo = await deployed('busy');
    await rig.setEnv('busy', { CC_PRE_BUILD_HOOK: 'sleep 30' });
    await repo.commit({ version: 'two' });
    const pushing = repo.push(await rig.pushUrl('busy'));
    await until('it is at work', async () =>
      (await rig.api('GET', '/apps/busy/deployments/2')).body.includes('"running"'),
    );
    const stop = await rig.gantry('stop', 'busy');
    expect(stop.stderr).toContain('deploy #2 is cancelled');
    expect(stop.code).toBe(0);
    const push = await pushing;
    expect(push.stderr).toContain('deploy #2 cancelled: busy was stopped by admin');
    expect(push.code).toBe(1);
    expect(await containersOf('busy')).toEqual([]);
    expect((await rig.request('busy')).body).toContain('This app is stopped');
  });

  test('is undone by a start right after it, which does not wait for what the stop has cancelled', async () => {
    await using repo = await deployed('again');
    await rig.setEnv('again', { CC_PRE_BUILD_HOOK: 'sleep 30' });
    await repo.commit({ version: 'two' });
    const pushing = repo.push(await rig.pushUrl('again'));
    await until('it is at work', async () =>
      (await rig.api('GET', '/apps/again/deployments/2')).body.includes('"running"'),
    );
    await rig.api('POST', '/apps/again/stop');
    const start = await rig.gantry('start', 'again');
    expect(start.stdout).toMatch(/Deploy #3 of again: [0-9a-f]{7} "An app: web", started/);
    expect(start.code).toBe(0);
    expect((await pushing).code).toBe(1);
    expect(await shown('again')).toMatchObject({ live: 3, state: 'live', stopped: null });
    expect((await rig.request('again')).body).toBe('one');
  });

  test('is carried out although its worker is killed in the middle', async () => {
    await using _repo = await deployed('killed');
    const slow = rig.request('killed', '/slow?ms=6000');
    await until('it is in flight', async () => (await rig.request('killed')).status === 200);
    expect((await rig.gantry('stop', 'killed', '--detach')).stderr).toContain('is being stopped');
    await until('visitors are told', async () => (await rig.request('killed')).status === 503);
    process.kill(await rig.workerPid(), 'SIGKILL');
    expect(await shown('killed')).toMatchObject({ state: 'stopping' });
    expect((await slow).body).toBe('one');
    await until('it is stopped', async () => (await shown('killed')).state === 'stopped', 40_000);
    expect(await containersOf('killed')).toEqual([]);
  });

  test('stops the clock of its cron entries', async () => {
    await using _repo = await deployed('clock');
    const redis = new Redis({ path: join(rig.dataDir, 'redis/redis.sock'), maxRetriesPerRequest: null });
    const queue = new Queue('cron', { connection: redis, prefix: 'gantry:bull' });
    const tick = async (): Promise<void> => {
      const job = await queue.add('tick', { app: 'clock', index: 0, command: 'true' });
      await until('it was taken', async () => (await job.isCompleted()) === true);
    };
    const tasks = async (): Promise<number> =>
      (JSON.parse((await rig.gantry('tasks', '--app', 'clock', '--json')).stdout) as unknown[]).length;
    try {
      await tick();
      expect(await tasks()).toBe(1);
      expect((await rig.gantry('stop', 'clock')).code).toBe(0);
      await tick();
      expect(await tasks()).toBe(1);
    } finally {
      await queue.close();
      redis.disconnect();
    }
  });

  test('of one that was never live, or with a token that may only read, is refused', async () => {
    await rig.setEnv('empty', {});
    const nothing = await rig.gantry('stop', 'empty');
    expect(nothing.stderr).toContain('nothing of empty runs: it was never live');
    expect(nothing.code).toBe(5);
    const started = await rig.gantry('start', 'empty');
    expect(started.stderr).toContain('empty has nothing live to start');
    expect(started.code).toBe(5);
    rig.env.GANTRY_TOKEN = await rig.createToken('reader', ['read:empty']);
    const refused = await rig.gantry('stop', 'empty');
    delete rig.env.GANTRY_TOKEN;
    expect(refused.stderr).toContain('this token may only read empty');
    expect(refused.code).toBe(3);
    const unclear = await rig.gantry('stop', 'empty', '--app', 'other');
    expect(unclear).toMatchObject({ code: 2, stderr: 'error: which app, empty or other?\n' });
  });
});
