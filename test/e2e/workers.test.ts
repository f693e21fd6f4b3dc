import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import Docker from 'dockerode';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Failpoints } from '../chaos/failpoints.ts';
import { notesApp } from '../support/notes-app.ts';
import { appRepository, freePort, Rig, until } from '../support/rig.ts';

let rig: Rig;
const extraWorkers: ChildProcess[] = [];
beforeEach(async () => {
  rig = await Rig.start({ GANTRY_CONCURRENCY: '1' });
  rig.explainFailures();
});
afterEach(async () => {
  for (const worker of extraWorkers.splice(0)) {
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    if (worker.exitCode === null) {
      worker.kill('SIGTERM');
      await exited;
    }
  }
  await rig[Symbol.asyncDispose]();
});

const docker = new Docker({ socketPath: '/var/run/docker.sock' });
const build = (seconds: number): string =>
  `FROM gantry-test/node:1\nCOPY version /app/version\nRUN sleep ${seconds} # ${randomUUID()}\nCOPY . /app\nCMD ["node","/app/server.js"]\n`;

function startWorker(): ChildProcess {
  const worker = spawn(process.execPath, ['dist/cli.js', 'worker'], { env: rig.env, stdio: 'ignore' });
  extraWorkers.push(worker);
  return worker;
}

async function containersOf(app: string): Promise<Docker.ContainerInfo[]> {
  const all = await docker.listContainers({ all: true, filters: { label: [`gantry.app=${app}`] } });
  return all.filter((container) => container.Names[0]?.includes(app));
}

test('a push that finds every worker busy says what it waits for', async () => {
  await using one = await appRepository('web', { Dockerfile: build(5) });
  await using two = await appRepository('web');
  const first = one.push(await rig.pushUrl('busy-one'));
  await until('the worker is busy', async () => (await rig.log()).includes('deployment started'));
  const second = await two.push(await rig.pushUrl('busy-two'));
  expect(second.stderr).toMatch(/-----> Deploy #1 of busy-two is queued: waiting for a free worker/);
  expect(second.stderr).toMatch(/cancel: gantry deploys cancel 1 --app busy-two/);
  expect(second.code).toBe(0);
  expect((await first).code).toBe(0);
});

test('two workers share the apps and never work on one at once', async () => {
  startWorker();
  const pushes = Array.from({ length: 4 }, async (_, index) => {
    await using repo = await appRepository('web', { Dockerfile: build(1 + index / 10) });
    const url = await rig.pushUrl(`shared-${index}`);
    const first = repo.push(url);
    await until('it has begun', async () =>
      (await rig.api('GET', `/apps/shared-${index}/deployments`)).body.includes('"number":1'),
    );
    await repo.commit({ version: 'two' }, 'two');
    const second = await repo.push(url);
    return { first: await first, second };
  });
  for (const { second } of await Promise.all(pushes)) expect(second.code).toBe(0);
  for (const index of [0, 1, 2, 3]) {
    expect((await rig.request(`shared-${index}`)).body).toBe('two');
    await expect
      .poll(async () => (await containersOf(`shared-${index}`)).length, { timeout: 20_000 })
      .toBe(1);
  }
});

test('a worker that slept through its lease does no harm when it wakes', { timeout: 120_000 }, async () => {
  await using repo = await appRepository('web', { Dockerfile: build(6) });
  const sleeper = await rig.workerPid();
  const push = repo.push(await rig.pushUrl('sleepy'));
  await until('it builds', async () => (await rig.log()).includes('deployment started'));
  process.kill(sleeper, 'SIGSTOP');
  startWorker();
  const end = await push;
  expect(end.stderr).toMatch(/a worker was lost; deploy #1 starts again/);
  expect(end.code).toBe(0);
  process.kill(sleeper, 'SIGCONT');
  // What it was doing is given up: no second container, no second ending, the app answers on.
  await until('the sleeper has noticed', async () => (await rig.log()).includes('lease lost'));
  expect((await rig.request('sleepy')).body).toBe('one');
  await expect.poll(async () => (await containersOf('sleepy')).length, { timeout: 40_000 }).toBe(1);
  const { body } = await rig.api('GET', '/apps/sleepy/deployments');
  expect(JSON.parse(body)).toMatchObject({ deployments: [{ number: 1, state: 'live' }] });
});

test('a worker that slept while it stopped an app leaves alone what was started since', {
  timeout: 120_000,
}, async () => {
  await using repo = await appRepository('web');
  expect((await repo.push(await rig.pushUrl('nap'))).code).toBe(0);
  const slow = rig.request('nap', '/slow?ms=5000');
  await until('it is in flight', async () => (await rig.request('nap')).status === 200);
  await rig.gantry('stop', 'nap', '--detach');
  await until('visitors are told', async () => (await rig.request('nap')).status === 503);
  const sleeper = await rig.workerPid();
  process.kill(sleeper, 'SIGSTOP');
  startWorker();
  expect((await slow).body).toBe('one');
  const isStopped = async () => (await rig.api('GET', '/apps/nap')).body.includes('"state":"stopped"');
  await until('it is stopped', isStopped, 60_000);
  expect((await rig.gantry('start', 'nap')).code).toBe(0);
  process.kill(sleeper, 'SIGCONT');
  await until('the sleeper has noticed', async () => (await rig.log()).includes('lease lost'));
  expect((await rig.request('nap')).body).toBe('one');
  expect(await containersOf('nap')).toHaveLength(1);
});

test('a worker that slept while it brought a release back leaves alone what went live since', {
  timeout: 180_000,
}, async () => {
  await rig[Symbol.asyncDispose]();
  using failpoints = new Failpoints();
  rig = await Rig.start({ ...failpoints.env, GANTRY_HEALTH_TIMEOUT: '8', GANTRY_STOP_TIMEOUT: '2' });
  // Two releases cannot have one port of the host, so the one that serves is stopped first.
  await rig.setEnv('alone', { CC_DOCKER_EXPOSED_HTTP_PORT: String(await freePort()) });
  await rig.gantry('apps', 'set', 'alone', '--network', 'host');
  await using repo = await appRepository('page', notesApp('v1'));
  const url = await rig.pushUrl('alone');
  expect((await repo.push(url)).code).toBe(0);

  await repo.commit(notesApp('v2', 'process.exit(9)'));
  failpoints.arm('before resume');
  const failing = repo.push(url);
  await until('v1 is to come back', () => failpoints.reachedBy !== undefined);
  const sleeper = failpoints.reachedBy ?? 0;
  process.kill(sleeper, 'SIGSTOP');
  failpoints.release();
  startWorker();
  expect((await failing).stderr).toMatch(/v1 is started again and serves after/);
  await repo.commit(notesApp('v3'));
  expect((await repo.push(url)).code).toBe(0);
  const before = await containersOf('alone');

  process.kill(sleeper, 'SIGCONT');
  await until('the sleeper has noticed', async () => (await rig.log()).includes('"written":false'));
  expect((await rig.request('alone')).body).toBe('v3: none');
  expect((await containersOf('alone')).map(({ Id }) => Id)).toEqual(before.map(({ Id }) => Id));
});

test('what another Gantry on this engine has of an app of the same name stays', async () => {
  const foreign = await docker.createContainer({
    Image: 'gantry-test/base:1',
    Cmd: ['true'],
    Labels: { 'gantry.store': 'another', 'gantry.app': 'namesake', 'gantry.release': '1' },
  });
  try {
    await using repo = await appRepository('web');
    const url = await rig.pushUrl('namesake');
    expect((await repo.push(url)).code).toBe(0);
    await repo.commit({ version: 'two' }, 'two');
    expect((await repo.push(url)).code).toBe(0);
    // Long before everything is looked at again: the first version drained, or its deployment ended.
    await until(
      'the first version is gone',
      async () => (await containersOf('namesake')).length === 1,
      20_000,
    );
    expect((await foreign.inspect()).Id).toBe(foreign.id);
  } finally {
    await foreign.remove({ force: true });
  }
});

test('an image is tagged and labelled with app, release and commit, and old ones go', async () => {
  await rig[Symbol.asyncDispose]();
  rig = await Rig.start({ GANTRY_KEEP_RELEASES: '2' });
  await using repo = await appRepository('web');
  const url = await rig.pushUrl('images');
  let commit = '';
  for (const version of ['two', 'three', 'four', 'five']) {
    commit = await repo.commit({ version }, version);
    expect((await repo.push(url)).code).toBe(0);
  }
  const images = () => docker.listImages({ filters: { label: ['gantry.app=images'] } });
  const newest = (await images()).find((image) => image.Labels['gantry.release'] === '4');
  expect(newest?.Labels).toMatchObject({ 'gantry.app': 'images', 'gantry.commit': commit });
  expect(newest?.RepoTags?.[0]).toMatch(new RegExp(`^gantry-[0-9a-f]{6}/images:v4-${commit.slice(0, 7)}$`));
  await expect
    .poll(async () => new Set((await images()).map((image) => image.Labels['gantry.release'])), {
      timeout: 20_000,
    })
    .toEqual(new Set(['3', '4']));
});

test('GANTRY_DOMAIN sets where apps answer', async () => {
  await rig[Symbol.asyncDispose]();
  rig = await Rig.start({ GANTRY_DOMAIN: 'apps.example.com' });
  await using repo = await appRepository('web');
  const push = await repo.push(await rig.pushUrl('shop'));
  expect(push.stderr).toContain(`http://shop.apps.example.com:${rig.httpPort}`);
  expect((await rig.requestHost('shop.apps.example.com')).body).toBe('one');
  expect((await rig.request('shop')).status).toBe(404);
});

test('a second start says that the first one runs and what to type', async () => {
  const second = await rig.gantry('start');
  expect(second.code).toBe(0);
  expect(second.stdout).toMatch(/already running \(process \d+\)/);
  expect(second.stdout).toContain(
    `git remote add clever http://gantry:${await rig.token}@127.0.0.1:${rig.port}/myapp.git`,
  );
});
