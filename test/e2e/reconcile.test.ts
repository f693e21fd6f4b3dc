import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { inventory, settledInventory } from '../support/inventory.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { Visitors } from '../support/visitor.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '10', GANTRY_STOP_TIMEOUT: '1' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

type Shown = { instance: number; release: number; state: string; detail: string | null };

async function instances(app: string): Promise<Shown[]> {
  const { body } = await rig.api('GET', `/apps/${app}/instances`);
  return (JSON.parse(body) as { instances: Shown[] }).instances;
}

async function containersOf(app: string): Promise<{ id: string; name: string; state: string }[]> {
  const label = [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`];
  const listed = await localDocker().listContainers({ all: true, filters: { label } });
  return listed.map(({ Id, Names, State }) => ({ id: Id, name: Names[0]?.slice(1) ?? '', state: State }));
}

/** Waits until the instances are all there, and well. */
async function whole(app: string, states: readonly string[]): Promise<void> {
  const now = async () => (await instances(app)).map(({ state }) => state);
  await expect.poll(now, { timeout: 30_000, interval: 100 }).toEqual(states);
}

async function body(app: string): Promise<string> {
  return (await rig.request(app)).body;
}

async function deployed(app: string, env: Record<string, string> = {}, scale: readonly string[] = []) {
  const repo = await appRepository('web');
  await rig.setEnv(app, env);
  if (scale.length > 0) await rig.gantry('scale', ...scale, '--app', app);
  const push = await repo.push(await rig.pushUrl(app));
  if (push.code !== 0) throw new Error(push.stderr);
  return repo;
}

async function metric(line: string): Promise<number> {
  const headers = { authorization: `Bearer ${await rig.token}` };
  const text = await (await fetch(`http://127.0.0.1:${rig.port}/metrics`, { headers })).text();
  return Number(
    text
      .split('\n')
      .find((one) => one.startsWith(line))
      ?.split(' ')
      .at(-1) ?? 0,
  );
}

describe('a container that somebody removed', () => {
  test('is started again within seconds, with image, variables and options of its release', async () => {
    await using _ = await deployed('gone', { COLOUR: 'red' }, ['--memory', '64M']);
    await rig.setEnv('gone', { COLOUR: 'green' });
    const before = await settledInventory(rig);
    const [old] = await containersOf('gone');
    const began = performance.now();
    await localDocker()
      .getContainer(old?.id ?? '')
      .remove({ force: true });
    await whole('gone', ['running']);
    expect(await body('gone')).toBe('one');
    const tookMs = Math.round(performance.now() - began);
    console.log(`removed container, until its app answers again: ${tookMs} ms`);
    expect(tookMs).toBeLessThan(30_000);
    const env = JSON.parse((await rig.request('gone', '/env')).body) as Record<string, string>;
    expect(env).toMatchObject({ COLOUR: 'red', INSTANCE_NUMBER: '0' });
    const [fresh] = await containersOf('gone');
    expect(fresh?.name).toBe(old?.name);
    const inspected = await localDocker()
      .getContainer(fresh?.id ?? '')
      .inspect();
    expect(inspected.HostConfig.Memory).toBe(64 * 1024 ** 2);
    expect(inspected.HostConfig.RestartPolicy?.Name).toBe('always');
    const withoutIds = (lines: readonly string[]) => lines.map((line) => line.replace(/[0-9a-f]{64}/, 'ID'));
    expect(withoutIds(await inventory(rig))).toEqual(withoutIds(before));
    expect(await metric('gantry_reconcile_actions_total{action="start_container"}')).toBeGreaterThan(0);
    expect((await rig.gantry('deploys', '--app', 'gone')).stdout).not.toContain('#2');
  });

  test('of two: the other one has all the visitors meanwhile, and none of them fails', async () => {
    await using _ = await deployed('pair', {}, ['--instances', '2']);
    const [first] = await containersOf('pair');
    const visitors = new Visitors(rig.httpPort, 'pair.localhost', 50);
    await localDocker()
      .getContainer(first?.id ?? '')
      .stop({ t: 5 });
    await until('there is one only', async () =>
      (await instances('pair')).some(({ state }) => state !== 'running'),
    );
    await whole('pair', ['running', 'running']);
    await visitors.leave();
    expect(visitors.requests).toBeGreaterThan(10);
    expect(visitors.failures).toEqual([]);
  });

  test('with its network: that is made again, too', async () => {
    await using _ = await deployed('netless');
    const [old] = await containersOf('netless');
    const network = `gantry-${(await rig.storeId).slice(0, 6)}-netless`;
    await localDocker()
      .getNetwork(network)
      .disconnect({ Container: old?.id ?? '', Force: true });
    await localDocker().getNetwork(network).remove();
    await until('it has another container', async () => {
      const [now] = await containersOf('netless');
      return now !== undefined && now.id !== old?.id;
    });
    await whole('netless', ['running']);
    expect(await body('netless')).toBe('one');
  });

  test('whose image is gone as well: says so once, in every place, and what to do', async () => {
    await using _ = await deployed('imageless');
    const [old] = await containersOf('imageless');
    const image = (
      await localDocker()
        .getContainer(old?.id ?? '')
        .inspect()
    ).Image;
    await localDocker()
      .getContainer(old?.id ?? '')
      .remove({ force: true });
    await localDocker().getImage(image).remove({ force: true });
    const line = 'the image of v1 is missing on the engine; redeploy: gantry redeploy --app imageless';
    await until('ps says so', async () => (await instances('imageless'))[0]?.detail === line);
    expect((await rig.gantry('ps', '--app', 'imageless')).stdout).toMatch(
      /^0 +v1 +missing .*redeploy: gantry/m,
    );
    expect((await rig.gantry('status')).stdout).toContain(`imageless: ${line}`);
    expect((await rig.request('imageless')).status).toBe(503);
    const said = async () =>
      (await rig.log())
        .split('\n')
        .filter((one) => one.includes('an instance is missing and cannot be started'));
    expect(await said()).toHaveLength(1);
    const redeploy = await rig.gantry('redeploy', '--app', 'imageless');
    expect(redeploy.stdout).toContain('imageless v2 is live');
    expect(await body('imageless')).toBe('one');
    expect((await rig.gantry('status')).stdout).not.toContain('imageless');
  });
});

describe('a branch', () => {
  test('that somebody moved in the repository is where what is live is again', async () => {
    await using repo = await deployed('branch');
    const url = await rig.pushUrl('branch');
    await repo.commit({ version: 'two' });
    expect((await repo.push(url)).code).toBe(0);
    const [second, first] = (await repo.git('rev-list', 'HEAD')).stdout.trim().split('\n');
    const bare = join(rig.dataDir, 'git/branch.git');
    const at = async () => (await repo.git('-C', bare, 'rev-parse', 'refs/heads/main')).stdout.trim();
    // Until then the push itself may still be moving it.
    await until('the push is long over', async () => {
      const { body: shown } = await rig.api('GET', '/apps/branch/deployments/2');
      return Date.now() - Date.parse((JSON.parse(shown) as { endedAt: string }).endedAt) > 5000;
    });
    await repo.git('-C', bare, 'update-ref', 'refs/heads/main', first ?? '');
    // Who pushes sees it where it belongs.
    expect((await repo.push(url)).stderr).toContain('Everything up-to-date');
    expect(await at()).toBe(second);
    await repo.git('-C', bare, 'update-ref', '-d', 'refs/heads/main');
    await repo.git('-C', bare, 'update-ref', 'refs/gantry/deploys/1', first ?? '');
    const held = async () => (await repo.git('-C', bare, 'for-each-ref', 'refs/gantry')).stdout;
    await until('it is back though nobody asked', async () => (await at()) === second, 45_000);
    await until('nothing is held for what has ended', async () => (await held()) === '', 45_000);
  });
});

describe('what is not ours', () => {
  test('a container that has the name of ours: it stays, and its owner is told of', async () => {
    await using _ = await deployed('named');
    const [old] = await containersOf('named');
    await localDocker()
      .getContainer(old?.id ?? '')
      .rename({ name: `${old?.name}-away` });
    const foreign = await localDocker().createContainer({
      name: old?.name,
      Image: 'gantry-test/base:1',
      Cmd: ['sleep', '600'],
    });
    try {
      await foreign.start();
      await localDocker()
        .getContainer(old?.id ?? '')
        .remove({ force: true });
      await until('it says whose it is', async () =>
        /is taken by a container that is not ours/.test((await instances('named'))[0]?.detail ?? ''),
      );
      expect((await foreign.inspect()).State.Running).toBe(true);
    } finally {
      await foreign.remove({ force: true });
    }
    await whole('named', ['running']);
  });

  test('a container that has an address of ours: ours gets another one', async () => {
    await using _ = await deployed('housed');
    const [old] = await containersOf('housed');
    const { NetworkSettings } = await localDocker()
      .getContainer(old?.id ?? '')
      .inspect();
    const [[network, { IPAddress }] = ['', { IPAddress: '' }]] = Object.entries(NetworkSettings.Networks);
    await localDocker()
      .getContainer(old?.id ?? '')
      .stop({ t: 0 });
    const foreign = await localDocker().createContainer({
      Image: 'gantry-test/base:1',
      Cmd: ['sleep', '600'],
      HostConfig: { NetworkMode: network },
      NetworkingConfig: { EndpointsConfig: { [network]: { IPAMConfig: { IPv4Address: IPAddress } } } },
    });
    try {
      await foreign.start();
      await whole('housed', ['running']);
      expect(await body('housed')).toBe('one');
      expect((await foreign.inspect()).State.Running).toBe(true);
    } finally {
      await foreign.remove({ force: true });
    }
  });
});

describe('a Redis that is emptied while Gantry runs', () => {
  test('takes no app down, says what is wrong, and all is as before once the data are back', async () => {
    await using lone = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '10' });
    lone.explainFailures();
    await using repo = await appRepository('web');
    const url = await lone.pushUrl('kept');
    expect((await repo.push(url)).code).toBe(0);
    const redis = new Redis({ path: join(lone.dataDir, 'redis/redis.sock') });
    const filters = { label: [`gantry.store=${await lone.storeId}`] };
    const running = async () => (await localDocker().listContainers({ filters })).map(({ Id }) => Id);
    const before = await running();
    try {
      const keys = await redis.keys('gantry:*');
      const dumps = await Promise.all(keys.map(async (key) => ({ key, dump: await redis.dumpBuffer(key) })));
      const visitors = new Visitors(lone.httpPort, 'kept.localhost', 20);
      await redis.flushall();
      await until('the server says so', async () => /Redis was emptied/.test(await lone.log()));
      await repo.commit({ version: 'two' });
      const push = await repo.push(url);
      expect(push.stderr).toContain('Redis was emptied or is another one');
      expect(push.code).not.toBe(0);
      // Whatever tidies up would have done so by then, and what makes the router match as well.
      const said = async () =>
        (await lone.log()).split('\n').filter((line) => line.includes('sweep failed')).length;
      await until('everything was looked at', async () => (await said()) > 0, 45_000);
      await visitors.leave();
      expect(visitors.failures).toEqual([]);
      expect(await running()).toEqual(before);

      for (const { key, dump } of dumps) await redis.restore(key, 0, dump ?? '', 'REPLACE');
      const again = await repo.push(url);
      expect(again.stderr).toContain('kept v2 is live');
      expect((await lone.gantry('deploys', '--app', 'kept')).stdout).toMatch(/#2 +live[^]*#1 +live/);
    } finally {
      redis.disconnect();
    }
  });
});
