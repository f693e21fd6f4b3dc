import { createHmac } from 'node:crypto';
import type { Container } from 'dockerode';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { ask } from '../router/support/client.ts';
import { localDocker } from '../support/base-image.ts';
import { appRepository, Rig, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '20' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

async function get(path: string, token?: string): Promise<{ status: number; body: string; type: string }> {
  const response = await fetch(`http://127.0.0.1:${rig.port}${path}`, {
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
  });
  const type = response.headers.get('content-type') ?? '';
  return { status: response.status, body: await response.text(), type };
}

/** Every sample by its name and labels, as Prometheus reads them. */
async function metrics(): Promise<Map<string, number>> {
  const { body } = await get('/metrics', await rig.token);
  const samples = body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    samples.map((line) => {
      const [, name = '', value = ''] = /^(\S+?(?:\{.*\})?) (\S+)$/.exec(line) ?? [];
      return [name, Number(value)];
    }),
  );
}

async function containerOf(app: string, release: number): Promise<Container> {
  const docker = localDocker();
  const label = [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`, `gantry.release=${release}`];
  const [found] = await docker.listContainers({ filters: { label } });
  return docker.getContainer(found?.Id ?? '');
}

test('metrics say how deployments, deliveries and logins went', async () => {
  await using repo = await appRepository('page');
  const url = await rig.pushUrl('shop');
  expect(await repo.push(url)).toMatchObject({ code: 0 });
  await repo.commit({ Dockerfile: 'FROM gantry-test/base:1\nRUN false\nCMD ["true"]\n' });
  expect(await repo.push(url)).toMatchObject({ code: 1 });
  const before = await metrics();
  await rig.request('shop');
  await rig.request('nobody-has-this-name');
  const after = await metrics();
  const grown = (code: string): number => {
    const name = `gantry_router_requests_total{code="${code}"}`;
    return (after.get(name) ?? Number.NaN) - (before.get(name) ?? Number.NaN);
  };
  expect([grown('2xx'), grown('4xx'), grown('5xx')]).toEqual([1, 1, 0]);
  expect((await get('/api/v1/apps', 'gantry_wrong')).status).toBe(401);
  const wrong = new URL(url);
  wrong.password = 'gantry_wrong';
  expect((await repo.push(wrong.href)).code).toBe(128);
  const link = [
    'webhooks',
    'link',
    'shop',
    '--provider',
    'github',
    '--repo',
    'https://forge.example/shop.git',
  ];
  const { secret } = JSON.parse((await rig.gantry(...link, '--json')).stdout) as { secret: string };
  const signature = createHmac('sha256', secret).update('{}').digest('hex');
  await fetch(`http://127.0.0.1:${rig.port}/webhooks/shop/github`, {
    method: 'POST',
    body: '{}',
    headers: { 'x-github-event': 'ping', 'x-hub-signature-256': `sha256=${signature}` },
  });

  await until('both ends are counted', async () =>
    (await metrics()).has('gantry_deploys_total{result="failed",trigger="push"}'),
  );
  const found = await metrics();
  const samples = {
    'gantry_deploys_total{result="live",trigger="push"}': 1,
    'gantry_deploys_total{result="failed",trigger="push"}': 1,
    'gantry_deploy_duration_seconds_count{result="live"}': 1,
    gantry_queue_wait_seconds_count: 2,
    'gantry_webhook_deliveries_total{provider="github",verdict="connected"}': 1,
    'gantry_auth_failures_total{kind="api"}': 1,
    'gantry_auth_failures_total{kind="git"}': 1,
    gantry_deploys_in_progress: 0,
    gantry_queue_depth: 0,
    gantry_queue_oldest_seconds: 0,
    gantry_workers: 1,
    'gantry_deploy_step_duration_seconds_count{step="checkout"}': 2,
    'gantry_deploy_step_duration_seconds_count{step="build"}': 2,
    'gantry_deploy_step_duration_seconds_count{step="health check"}': 1,
    'gantry_deploy_step_duration_seconds_count{step="switch"}': 1,
    // Steps that there are none of are not counted as quick ones.
    'gantry_deploy_step_duration_seconds_count{step="pre-build hook"}': undefined,
    gantry_push_bytes_count: 2,
    gantry_swap_failed_requests_total: 0,
    gantry_container_restarts_total: 0,
    gantry_log_lines_dropped_total: 0,
    'gantry_reconcile_actions_total{action="repair_queue"}': 0,
  };
  expect(Object.fromEntries(Object.keys(samples).map((name) => [name, found.get(name)]))).toEqual(samples);
  for (const area of ['data', 'images'])
    expect(found.get(`gantry_disk_free_bytes{area="${area}"}`)).toBeGreaterThan(1024 ** 2);
  for (const until of ['first_byte', 'last_byte'])
    expect(found.get(`gantry_router_request_duration_seconds{until="${until}"}`)).toBeLessThan(5);
  expect(found.get('gantry_push_bytes_sum')).toBeGreaterThan(100);
  const heardAgo = Date.now() / 1000 - (found.get('gantry_worker_heartbeat_timestamp_seconds') ?? 0);
  expect(heardAgo).toBeLessThan(20);
  expect([...found.keys()].join(' ')).toMatch(/gantry_build_info\{version="\d+\.\d+\.\d+"\}/);
  // Node's own may have no sample yet.
  const unknown = [...found].filter(([name, value]) => name.startsWith('gantry_') && Number.isNaN(value));
  expect(unknown).toEqual([]);
  const { type, body } = await get('/metrics', await rig.token);
  expect(type).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(body).not.toContain('shop');
  expect((await get('/metrics')).status).toBe(401);
});

test('a deployment in work and one that waits are seen', async () => {
  await using repo = await appRepository('page', {
    Dockerfile:
      'FROM gantry-test/base:1\nRUN sleep 4\nCOPY version /www/index.html\nCMD ["httpd","-f","-p","8080","-h","/www"]\n',
  });
  const push = repo.push(await rig.pushUrl('slow'));
  await until('it is in work', async () => (await metrics()).get('gantry_deploys_in_progress') === 1);
  expect(await push).toMatchObject({ code: 0 });
});

test('what ends by itself, what is tidied and what is not kept is counted', async () => {
  await using crashing = await appRepository('page');
  expect(await crashing.push(await rig.pushUrl('crashing'))).toMatchObject({ code: 0 });
  await using repo = await appRepository('page', {
    Dockerfile:
      'FROM gantry-test/base:1\nCOPY version /www/index.html\nCMD ["sh","-c","yes $LINE | head -n 100000; exec httpd -f -p 8080 -h /www"]\nENV LINE=' +
      'x'.repeat(120),
  });
  const count = async (name: string): Promise<number> =>
    (await metrics()).get(`gantry_${name}`) ?? Number.NaN;
  expect(await repo.push(await rig.pushUrl('noisy'))).toMatchObject({ code: 0 });
  await until('lines are missing', async () => (await count('log_lines_dropped_total')) > 1000);
  const container = await containerOf('crashing', 1);
  const { State } = await container.inspect();
  process.kill(State.Pid, 'SIGKILL');
  await until('it is started again', async () => (await container.inspect()).RestartCount === 1);
  const removed = 'reconcile_actions_total{action="remove_container"}';
  const before = await count(removed);
  expect(await repo.push(await rig.pushUrl('noisy'), 'main:redeploy')).toMatchObject({ code: 0 });
  await until('the old container is gone', async () => (await count(removed)) > before);
  await until('the crash is counted', async () => (await count('container_restarts_total')) === 1);
  expect(await count('swap_failed_requests_total')).toBe(0);
});

test('a request that breaks while its release is replaced is counted', async () => {
  await using repo = await appRepository('web');
  const url = await rig.pushUrl('replaced');
  expect(await repo.push(url)).toMatchObject({ code: 0 });
  const name = 'gantry_swap_failed_requests_total';
  expect((await metrics()).get(name)).toBe(0);
  const host = 'replaced.localhost';
  // Nobody may repeat it; it is in flight until long after the push.
  const broken = ask({ port: rig.httpPort, host, path: '/slow?ms=60000', body: 'an order' });
  await repo.commit({ version: 'two' }, 'two');
  expect(await repo.push(url)).toMatchObject({ code: 0 });
  await (await containerOf('replaced', 1)).kill();
  expect((await broken).status).toBe(502);
  await until('it is counted', async () => Number((await metrics()).get(name)) > 0);
});

test('a server without a worker, and one without Redis, are alive but not ready', async () => {
  const checks = async (): Promise<unknown> =>
    JSON.parse((await get('/api/v1/readiness', await rig.token)).body);
  await until('it is ready', async () => (await get('/readyz')).status === 200);
  expect(await checks()).toEqual({
    ready: true,
    checks: { redis: 'ok', worker: 'ok', router: 'ok', disk: 'ok' },
  });

  const well = await rig.gantry('status');
  expect(well.stdout).toMatch(
    /^gantry \d\S+ at http:\/\/127\.0\.0\.1:\d+ is ready: \d apps, nothing is deployed now\nredis +ok\n/,
  );
  expect(well.code).toBe(0);

  const worker = await rig.workerPid();
  process.kill(worker, 'SIGKILL');
  await until('it is noticed', async () => (await get('/readyz')).status === 503);
  const ill = await rig.gantry('status', '--json');
  expect(JSON.parse(ill.stdout)).toMatchObject({
    ready: false,
    checks: { redis: 'ok', worker: 'no worker takes deployments' },
  });
  expect(ill.code).toBe(8);
  await until('the worker is back', async () => (await get('/readyz')).status === 200);

  const redis = await rig.redisPid();
  process.kill(redis, 'SIGSTOP');
  try {
    const { status, body } = await get('/readyz');
    expect({ status, body }).toEqual({ status: 503, body: '{"status":"unavailable"}' });
    expect((await get('/livez')).status).toBe(200);
    expect((await get('/healthz')).body).toBe('{"status":"ok"}');
  } finally {
    process.kill(redis, 'SIGCONT');
  }
  await until('it is ready again', async () => (await get('/readyz')).status === 200);
});
