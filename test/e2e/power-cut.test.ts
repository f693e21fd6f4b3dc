import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { page, slowStep } from '../support/dockerfiles.ts';
import { ForgetfulDisk } from '../support/forgetful-disk.ts';
import { type GitResult, gitClient, resultOf } from '../support/git.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { freezeAll, killAll, processesOf } from '../support/processes.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { startPush } from '../support/started-push.ts';

/** The power of the machine is cut, and its disk has only what was synced by then. */
let rig: Rig;
let disk: ForgetfulDisk;
let repo: Awaited<ReturnType<typeof appRepository>>;
beforeAll(async () => {
  rig = await Rig.make({ GANTRY_DISK_FLOOR: '16M' });
  disk = await ForgetfulDisk.mount(rig.dataDir);
  await rig.start();
  repo = await appRepository('page');
  await push('shop');
}, 120_000);
afterAll(async () => {
  await repo?.[Symbol.asyncDispose]();
  await rig?.[Symbol.asyncDispose]().catch(() => {}); // a mount point cannot be removed
  await disk?.[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

/** And comes back. */
async function cutPower(): Promise<void> {
  const pids = await freezeAll(rig.dataDir);
  await disk.cutPower(async () => {
    await rig.crash();
    killAll(pids);
    await until('nothing runs', async () => (await processesOf(rig.dataDir)).length === 0);
  });
  await rig.start();
}

const push = async (app: string): Promise<GitResult> => repo.push(await rig.pushUrl(app));

type Deployment = { number: number; state: string; commit: string };

async function deployments(app: string): Promise<Deployment[]> {
  const { body } = await rig.api('GET', `/apps/${app}/deployments`);
  return (JSON.parse(body) as { deployments: Deployment[] }).deployments;
}

async function expectWhole(app: string, commit: string, version: string): Promise<void> {
  await until(`${version} answers`, async () => (await rig.request(app)).body.trim() === version, 60_000);
  await until('the branch is what is live', async () => {
    const { stdout } = await gitClient().run(['ls-remote', await rig.pushUrl(app), 'refs/heads/main']);
    return stdout.startsWith(commit);
  });
  const folder = join(rig.dataDir, `git/${app}.git`);
  expect(await gitClient().run(['-C', folder, 'fsck', '--full', '--strict'])).toMatchObject({ code: 0 });
  await expectNothingLeftBehind(rig);
}

test('what nobody synced is gone afterwards, so that this tries something', async () => {
  const file = join(rig.dataDir, 'unsynced');
  await writeFile(file, 'x'.repeat(10_000));
  await cutPower();
  expect(await readFile(file, 'utf8').catch(() => '')).toBe('');
});

describe('a deployment', () => {
  test.each([
    { when: 'the first of an app, whose number was just shown', app: 'first', mark: '-----> Deploy #' },
    { when: 'whose number was just shown', app: 'shop', mark: '-----> Deploy #' },
    { when: 'that is built', app: 'shop', mark: 'half-way' },
    { when: 'that was just switched to', app: 'shop', mark: '-----> Switching traffic' },
  ])(
    '$when is not lost: it goes live by itself',
    async ({ when, app, mark }) => {
      const commit = await repo.commit({ version: when, Dockerfile: page(slowStep(2)) });
      const started = startPush(repo, await rig.pushUrl(app));
      await started.says(mark);
      await cutPower();
      expect((await started.result).code).not.toBe(0);
      await until('it is live', async () => (await deployments(app))[0]?.state === 'live', 60_000);
      expect((await deployments(app))[0]?.commit).toBe(commit);
      await expectWhole(app, commit, when);
      expect((await push(app)).stderr).toContain('Everything up-to-date');
    },
    120_000,
  );

  test('that was said to be live is', async () => {
    const version = 'said to be live';
    const commit = await repo.commit({ version, Dockerfile: page(slowStep(0)) });
    expect((await push('shop')).stderr).toMatch(/success: shop v\d+ is live/);
    await cutPower();
    expect((await deployments('shop'))[0]).toMatchObject({ commit, state: 'live' });
    await expectWhole('shop', commit, version);
  }, 120_000);
});

test('a variable that was set, an app that was made and a token that was given are there', async () => {
  await rig.setEnv('shop', { COLOUR: 'red' });
  expect((await rig.api('POST', '/apps', { name: 'fresh' })).status).toBe(201);
  const made = await rig.gantry('tokens', 'create', 'ci', '--scope', 'deploy:shop');
  await cutPower();
  expect((await rig.gantry('env', 'list', '--app', 'shop')).stdout).toMatch(/^COLOUR=red$/m);
  expect((await rig.api('GET', '/apps/fresh')).status).toBe(200);
  const headers = { authorization: `Bearer ${made.stdout.trim().split(/\s+/).at(-1)}` };
  expect((await fetch(`http://127.0.0.1:${rig.port}/api/v1/apps`, { headers })).status).toBe(200);
});

test.each([0, 100, 200, 300])(
  'what was taken %i ms after a push began is there, and the next push works',
  async (afterMs) => {
    const version = `after ${afterMs} ms`;
    const commit = await repo.commit({ version, Dockerfile: page(slowStep(0)) });
    const pushed = resultOf(repo.startPush(await rig.pushUrl('shop')));
    await sleep(afterMs);
    await cutPower();
    const wasPromised = (await pushed).stderr.includes('-----> Deploy #');
    const isTaken = (await deployments('shop')).some((one) => one.commit === commit);
    expect(isTaken || !wasPromised).toBe(true);
    if (!isTaken) await push('shop');
    await expectWhole('shop', commit, version);
  },
  120_000,
);
