import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { inventory, settledInventory } from '../support/inventory.ts';
import { notesApp } from '../support/notes-app.ts';
import { processesWith } from '../support/processes.ts';
import { appRepository, freePort, Rig, until } from '../support/rig.ts';
import { Visitors } from '../support/visitor.ts';

let rig: Rig;
beforeAll(async () => {
  const from = await freePort();
  rig = await Rig.start({
    GANTRY_HEALTH_TIMEOUT: '20',
    GANTRY_STOP_TIMEOUT: '2',
    GANTRY_TCP_PORTS: `${from}-${from + 5}`,
  });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

async function redisKeys(about: string): Promise<string[]> {
  const redis = new Redis({ path: join(rig.dataDir, 'redis/redis.sock') });
  try {
    return (await redis.keys('*')).filter((key) => key.includes(about)).sort();
  } finally {
    redis.disconnect();
  }
}

async function volumes(app: string): Promise<string[]> {
  const label = [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`];
  return ((await localDocker().listVolumes({ filters: { label } })).Volumes ?? []).map(({ Name }) => Name);
}

/** A program that is found by its argument. */
const endless = (): string => `9${Math.floor(Math.random() * 1e9)}`;

/** HAProxy is reloaded for an app, and a second one is there for all from the first TCP port on. */
const isOfNoRouter = (line: string): boolean => !/router|haproxy/.test(line);

const withCron = { 'clevercloud/cron.json': '["0 4 * * * echo hello"]' };

test('nothing of it is left, nobody else notices, and the name is free', async () => {
  await using neighbour = await appRepository('web');
  expect((await neighbour.push(await rig.pushUrl('neighbour'))).code).toBe(0);
  const before = (await settledInventory(rig)).filter(isOfNoRouter);
  const visitors = new Visitors(rig.httpPort, 'neighbour.localhost', 50);

  const app = 'goner';
  const mark = endless();
  await using repo = await appRepository('page', { ...notesApp('v1'), ...withCron });
  await rig.setEnv(app, { SECRET: 'a-secret-value', CC_DOCKER_EXPOSED_TCP_PORT: '8080' });
  for (const command of [
    ['volumes', 'add', app, 'notes:/data'],
    ['domains', 'add', 'goner.example', '--app', app],
    ['tcp', 'enable', '--app', app],
    [
      'webhooks',
      'link',
      app,
      '--provider',
      'github',
      '--repo',
      'https://forge.invalid/x.git',
      '--poll',
      '1h',
    ],
    ['webhooks', 'out', 'add', 'https://receiver.invalid/hook', '--app', app],
  ])
    expect({ command, ...(await rig.gantry(...command)) }).toMatchObject({ command, code: 0, signal: null });
  const token = await rig.createToken('robot', [`deploy:${app}` as 'admin']);
  const pushed = await repo.push(await rig.pushUrl(app));
  expect(pushed.code).toBe(0);
  await repo.commit(notesApp('v2'));
  await repo.push(await rig.pushUrl(app));
  await rig.gantry('run', app, '--', 'echo', 'hello');
  await rig.gantry('run', app, '--detach', '--', 'sleep', mark);
  await until('the task runs', async () => (await processesWith(mark)).length > 0);

  const unsure = await rig.gantry('apps', 'delete', app);
  expect(unsure.stderr).toContain(`this deletes ${app} for good; to say that you mean it: --confirm ${app}`);
  const mistaken = await rig.gantry('apps', 'delete', app, '--confirm', 'gone');
  expect(mistaken.stderr).toContain('nothing was deleted');
  expect([unsure.code, mistaken.code]).toEqual([2, 2]);

  const deleted = await rig.gantry('apps', 'delete', app, '--confirm', app, '--delete-data');
  expect(deleted.stderr).toBe(`deletes the data of its volumes: notes\n${app} is deleted\n`);
  expect(deleted.code).toBe(0);
  await expect
    .poll(async () => (await inventory(rig)).filter(isOfNoRouter), { timeout: 20_000 })
    .toEqual(before);
  expect(await processesWith(mark)).toEqual([]);
  // What waits to be sent finds, when its time comes, nobody to be sent to.
  const keys = async (): Promise<string[]> =>
    (await redisKeys(app)).filter((key) => !key.includes(':notice:'));
  await expect.poll(keys, { timeout: 20_000 }).toEqual([]);
  for (const folder of ['logs', 'app-logs']) expect(existsSync(join(rig.dataDir, folder, app))).toBe(false);
  expect((await rig.request(app)).status).toBe(404);
  expect((await rig.requestHost('goner.example')).status).toBe(404);
  const url = `http://127.0.0.1:${rig.port}/api/v1/whoami`;
  expect((await fetch(url, { headers: { authorization: `Bearer ${token}` } })).status).toBe(401);
  expect((await rig.gantry('apps', 'show', app)).code).toBe(4);
  expect((await rig.gantry('audit', '--app', app)).stdout).toContain('delete app');

  await visitors.leave();
  expect(visitors.failures).toEqual([]);

  const anew = await repo.push(await rig.pushUrl(app));
  expect(anew.stderr).toContain(`${app} v1 is live`);
  expect((await rig.request(app)).body).toBe('v2: none');
  expect(JSON.parse((await rig.api('GET', `/apps/${app}/env`)).body)).toEqual({ env: {} });
});

test('what was to be done for it is not done to the next one of its name', async () => {
  const app = 'again';
  await using repo = await appRepository('page', notesApp('v1'));
  expect((await repo.push(await rig.pushUrl(app))).code).toBe(0);
  expect((await rig.gantry('apps', 'delete', app, '--confirm', app)).code).toBe(0);
  const second = await repo.commit(notesApp('v2'));
  expect((await repo.push(await rig.pushUrl(app))).code).toBe(0);
  // The branch of the first one is looked at two seconds after it went live, and once more after that.
  await sleep(6000);
  const { stdout } = await repo.git('ls-remote', await rig.pushUrl(app), 'refs/heads/main');
  expect(stdout).toContain(second);
});

test('the data of its volumes stay unless they are to go as well', async () => {
  const app = 'keeper';
  await using repo = await appRepository('page', notesApp('v1'));
  await rig.setEnv(app, {});
  await rig.gantry('volumes', 'add', app, 'notes:/data');
  await repo.push(await rig.pushUrl(app));
  await rig.request(app, '/add?text=kept');
  const deleted = await rig.gantry('apps', 'delete', app, '--confirm', app);
  expect(deleted.stderr).toContain('keeps the data of its volumes: notes');
  expect(await volumes(app)).toHaveLength(1);

  expect((await rig.gantry('apps', 'create', app)).stderr).toMatch(/^keeper is there/);
  await rig.gantry('volumes', 'add', app, 'notes:/data');
  expect((await repo.push(await rig.pushUrl(app))).code).toBe(0);
  expect((await rig.request(app)).body).toBe('v1: kept');
  await rig.gantry('apps', 'delete', app, '--confirm', app, '--delete-data');
  expect(await volumes(app)).toEqual([]);
});

test('a deployment in work is cancelled, what is asked meanwhile is refused, and killed processes stop nothing', async () => {
  const before = await settledInventory(rig);
  const app = 'busy';
  const mark = endless();
  await using repo = await appRepository('web', {
    Dockerfile: `FROM gantry-test/node:1\nRUN sleep ${mark}\nCMD ["true"]\n`,
  });
  const pushing = repo.push(await rig.pushUrl(app));
  await until('it builds', async () => (await processesWith(mark)).length > 0);

  const worker = await rig.workerPid();
  process.kill(worker, 'SIGSTOP');
  onTestFinished(() => {
    if (existsSync(`/proc/${worker}`)) process.kill(worker, 'SIGKILL');
  });
  expect((await rig.api('DELETE', `/apps/${app}`)).status).toBe(202);
  expect((await rig.gantry('apps')).stdout).toMatch(/^busy /m);
  const meanwhile = await rig.api('POST', `/apps/${app}/deployments`, { kind: 'redeploy' });
  expect(meanwhile.status).toBe(409);
  await repo.commit({ version: 'two' });
  const late = await repo.push(await rig.pushUrl(app));
  expect(late.stderr).toContain('the app busy is being deleted');
  expect(late.code).toBe(1);
  process.kill(worker, 'SIGKILL');
  await rig.crash();
  await rig.start();
  expect((await pushing).code).not.toBe(0);
  await until('it is deleted', async () => (await rig.api('GET', `/apps/${app}`)).status === 404, 60_000);
  await expect.poll(() => processesWith(mark), { timeout: 10_000 }).toEqual([]);
  await expect
    .poll(async () => (await inventory(rig)).filter((line) => !line.startsWith('process ')), {
      timeout: 20_000,
    })
    .toEqual(before.filter((line) => !line.startsWith('process ')));
});

test('only an administrator deletes an app', async () => {
  await rig.setEnv('theirs', {});
  const token = await rig.createToken('deployer', ['deploy:theirs' as 'admin']);
  const url = `http://127.0.0.1:${rig.port}/api/v1/apps/theirs`;
  const answer = await fetch(url, { method: 'DELETE', headers: { authorization: `Bearer ${token}` } });
  expect(answer.status).toBe(403);
  const deleted = await rig.gantry('apps', 'delete', 'theirs', '--confirm', 'theirs');
  expect(deleted.stderr).toBe('theirs is deleted\n');
});
