import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { appRepository, Rig, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '15' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

type Shown = {
  state: string;
  instances: {
    instance: number;
    release: number;
    state: string;
    detail: string | null;
    since: string;
    memory: { limit: number; used: number | null };
    cpus: number | null;
    restarts: number;
  }[];
};

async function shown(app: string): Promise<Shown> {
  return JSON.parse((await rig.gantry('ps', '--app', app, '--json')).stdout) as Shown;
}

test('gantry ps tells how each instance is now, why it is not well, and that nothing runs', async () => {
  await using repo = await appRepository('web', {
    'server.js': `
      let status = 200;
      require('node:http').createServer((req, res) => {
        if (req.url === '/sick') status = 500;
        if (req.url === '/die') process.exit(9);
        res.writeHead(status); res.end('ok');
      }).listen(process.env.PORT);`,
  });
  await rig.setEnv('shop', {});
  await rig.gantry('scale', '--instances', '2', '--memory', '64M', '--cpus', '0.5', '--app', 'shop');
  expect((await repo.push(await rig.pushUrl('shop'))).code).toBe(0);
  const { state, instances } = await shown('shop');
  expect(state).toBe('live');
  expect(instances.map(({ instance }) => instance)).toEqual([0, 1]);
  for (const one of instances) {
    expect(one).toMatchObject({ release: 1, state: 'running', detail: null, cpus: 0.5, restarts: 0 });
    expect(one.memory.limit).toBe(64 * 1024 ** 2);
    expect(one.memory.used).toBeGreaterThan(1024 ** 2);
    expect(Date.now() - Date.parse(one.since)).toBeLessThan(120_000);
  }
  expect((await rig.gantry('ps', '--app', 'shop')).stdout).toMatch(
    /^0 +v1 +running +20\S+Z +\d+M +64M +0\.5 +0$/m,
  );

  await rig.request('shop', '/sick');
  await until('one is unhealthy', async () =>
    (await shown('shop')).instances.some(({ detail }) => detail === 'GET / -> 500'),
  );
  await rig.request('shop', '/die').catch(() => {});
  await until('one was started again', async () =>
    (await shown('shop')).instances.some(({ restarts }) => restarts > 0),
  );
  expect((await rig.gantry('stop', 'shop')).code).toBe(0);
  expect(await shown('shop')).toEqual({ state: 'stopped', instances: [] });
});
