import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { Visitors } from '../support/visitor.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '15', GANTRY_DRAIN_TIMEOUT: '5' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

async function containersOf(app: string): Promise<string[]> {
  const label = [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`];
  const listed = await localDocker().listContainers({ filters: { label } });
  return listed.map(({ Id }) => Id);
}

async function instancesThatAnswer(app: string, requests: number): Promise<Set<string>> {
  const seen = new Set<string>();
  for (let left = requests; left > 0; left -= 1) {
    const env = JSON.parse((await rig.request(app, '/env')).body) as Record<string, string>;
    seen.add(env.INSTANCE_NUMBER ?? '');
  }
  return seen;
}

describe('instances', () => {
  test('share the requests, are swapped without a failed one, and go when there are to be fewer', async () => {
    await using repo = await appRepository('web');
    await repo.push(await rig.pushUrl('many'));
    const scaled = await rig.gantry('scale', '--instances', '3', '--app', 'many');
    expect(scaled.stdout).toMatch(/instances +3/);
    expect(scaled.stderr).toContain('in force with the next deployment');
    expect(await containersOf('many')).toHaveLength(1);

    await repo.commit({ version: 'v2' });
    const push = await repo.push(await rig.pushUrl('many'));
    expect(push.stderr).toContain('Starting v2, 3 instances');
    for (const instance of [0, 1, 2]) expect(push.stderr).toContain(`instance ${instance}: GET / -> 200`);
    expect(push.code).toBe(0);
    expect(await instancesThatAnswer('many', 30)).toEqual(new Set(['0', '1', '2']));

    const visitors = new Visitors(rig.httpPort, 'many.localhost', 100);
    for (const version of ['v3', 'v4']) {
      await repo.commit({ version });
      expect((await repo.push(await rig.pushUrl('many'))).code).toBe(0);
    }
    await visitors.leave();
    expect(visitors.failures).toEqual([]);
    expect(visitors.requests).toBeGreaterThan(50);
    await until('only the new three are left', async () => (await containersOf('many')).length === 3);

    await rig.gantry('scale', '--instances', '1', '--app', 'many');
    expect((await repo.push(await rig.pushUrl('many'), 'main:redeploy')).code).toBe(0);
    await until('one is left', async () => (await containersOf('many')).length === 1);
    expect(await instancesThatAnswer('many', 5)).toEqual(new Set(['0']));
  });

  test('are all removed when one of them is not healthy, and the others keep serving', async () => {
    await using repo = await appRepository('web');
    await rig.setEnv('half', {});
    await rig.gantry('scale', '--instances', '2', '--app', 'half');
    expect((await repo.push(await rig.pushUrl('half'))).code).toBe(0);
    const before = await containersOf('half');
    await repo.commit({
      Dockerfile:
        'FROM gantry-test/node:1\nCOPY . /app\nCMD ["sh","-c","test $INSTANCE_NUMBER = 0 || exit 4; exec node /app/server.js"]\n',
    });
    const push = await repo.push(await rig.pushUrl('half'));
    expect(push.stderr).toMatch(/failed in health check: instance 1: it exited with code 4/);
    expect(push.code).toBe(1);
    expect(new Set(await containersOf('half'))).toEqual(new Set(before));
    expect(await instancesThatAnswer('half', 10)).toEqual(new Set(['0', '1']));
  });
});

describe('sizes', () => {
  test('limit the container, swap off, and an app that needs more is told its own limit', async () => {
    await using repo = await appRepository('web');
    await rig.setEnv('sized', {});
    const answer = await rig.gantry('scale', '--memory', '48M', '--cpus', '0.5', '--app', 'sized', '--json');
    expect(JSON.parse(answer.stdout)).toMatchObject({ memory: 48 * 1024 ** 2, cpus: 0.5, instances: 1 });
    expect((await repo.push(await rig.pushUrl('sized'))).code).toBe(0);
    const [container = ''] = await containersOf('sized');
    const { HostConfig } = await localDocker().getContainer(container).inspect();
    expect(HostConfig).toMatchObject({
      Memory: 48 * 1024 ** 2,
      MemorySwap: 48 * 1024 ** 2,
      NanoCpus: 500_000_000,
    });

    await repo.commit({
      'server.js': 'const kept = []; for (;;) kept.push(Buffer.alloc(1e6, 1));',
    });
    const push = await repo.push(await rig.pushUrl('sized'));
    expect(push.stderr).toContain('killed: out of memory (limit 48 MiB)');
    expect(push.stderr).toContain('hint: give it more memory: gantry scale --memory 96M');
    expect(push.code).toBe(1);

    const back = await rig.gantry('scale', '--memory', 'default', '--cpus', 'default', '--app', 'sized');
    expect(back.stdout).toMatch(/memory +default/);
  });

  test.each([
    [['--instances', '7'], 'an app has 1 to 6 instances'],
    [['--instances', 'many'], 'is no number of instances'],
    [['--memory', '1M'], 'is no size of a memory'],
    [['--cpus', '0'], 'cpus is a number of cores'],
  ])('%j are refused in one line', async (flags, message) => {
    await rig.setEnv('sized', {});
    const answer = await rig.gantry('scale', ...flags, '--app', 'sized');
    expect(answer.code).not.toBe(0);
    expect(answer.stderr).toContain(message);
  });
});
