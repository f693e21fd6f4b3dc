import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { slowStep } from '../support/dockerfiles.ts';
import { type GitResult, gitClient, resultOf } from '../support/git.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { startRegistry } from '../support/registry.ts';
import { publish, serving } from '../support/registry-images.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { Visitors } from '../support/visitor.ts';

let shelf: string;
let file: string;
let key: string;
beforeEach(async () => {
  shelf = await mkdtemp(join(tmpdir(), 'gantry-shelf-'));
  file = join(shelf, 'gantry.backup');
  key = join(shelf, 'gantry.key');
});
afterEach(() => rm(shelf, { recursive: true, force: true }));

type Deployment = { number: number; state: string; trigger: string; reason: string | null };

async function deployments(rig: Rig, app: string): Promise<Deployment[]> {
  const { body } = await rig.api('GET', `/apps/${app}/deployments`);
  return (JSON.parse(body) as { deployments: Deployment[] }).deployments;
}

async function page(rig: Rig, host: string): Promise<string> {
  return (await rig.requestHost(`${host}.localhost`)).body;
}

/** Of the live release, as the engine has them. */
async function containers(rig: Rig, app: string): Promise<string[]> {
  const filters = { label: [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`] };
  return (await localDocker().listContainers({ filters })).map(({ Id }) => Id);
}

/** The data folder is lost, and all that runs but the containers; with `all` also those, their networks and images. */
async function lose(rig: Rig, all: 'all' | 'not the containers'): Promise<void> {
  await rig.crash();
  await rig.gantryHere('down', ...(all === 'all' ? ['--apps', '--delete-data'] : []));
  await rm(rig.dataDir, { recursive: true, force: true });
  await mkdir(rig.dataDir);
}

function restore(rig: Rig, from = file, withKey = key): Promise<GitResult> {
  return rig.gantryHere('restore', from, '--key', withKey);
}

test('made while a build runs and visitors come, then everything is lost: the apps answer on an empty machine', async () => {
  await using registry = await startRegistry({ isOpen: true });
  await using rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '20' });
  rig.explainFailures();
  await using repo = await appRepository('web');
  const secret = `secret-${randomUUID()}`;
  await rig.setEnv('shop', { PASSWORD: secret });
  const url = await rig.pushUrl('shop');
  expect((await repo.push(url)).code).toBe(0);
  const second = await repo.commit({ version: 'two' }, 'the second');
  expect((await repo.push(url)).code).toBe(0);
  expect((await rig.gantry('domains', 'add', 'shop.example.com', '--app', 'shop')).code).toBe(0);
  await publish(registry.host, 'web:1', { page: 'pulled', config: { Cmd: serving(8080) } });
  expect((await rig.gantry('deploy', 'pulled', '--image', `${registry.host}/web:1`)).code).toBe(0);
  // Not in force yet.
  await rig.setEnv('shop', { PASSWORD: 'another one' });
  const oldToken = await rig.token;

  const dockerfile = `FROM gantry-test/node:1\n${slowStep(30)}\nCOPY . /app\nCMD ["node","/app/server.js"]\n`;
  await repo.commit({ version: 'three', Dockerfile: dockerfile }, 'the third');
  const push = repo.startPush(url);
  const pushed = resultOf(push);
  let said = '';
  push.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await until('the build is on its way', () => said.includes('half-way'));
  const visitors = new Visitors(rig.httpPort, 'shop.localhost', 100);
  const backup = await rig.gantryHere('backup', file, '--key', key);
  await visitors.leave();
  expect(backup.stderr).toMatch(
    /^backed up in \S+: store, 1 repository and logs, \d+ MiB, as of \S+Z\nthe key is in \S+; keep it apart from the backup: with both, every variable can be read\nnot in it: images/,
  );
  expect(backup.code).toBe(0);
  expect(visitors.failures).toEqual([]);
  expect(visitors.requests).toBeGreaterThan(10);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect((await stat(key)).mode & 0o777).toBe(0o600);
  const bytes = await readFile(file, 'latin1');
  const keyBytes = (await readFile(key, 'utf8')).split(':')[1]?.trim() ?? '';
  for (const hidden of [secret, oldToken, keyBytes]) expect(bytes).not.toContain(hidden);

  await lose(rig, 'all');
  await pushed;
  const restored = await restore(rig);
  expect(restored.stderr).toMatch(/^#3 of shop was under way then and is cancelled now$/m);
  expect(restored.stderr).toMatch(/^restored 2 apps as of /m);
  expect(restored.code).toBe(0);
  await rig.start();
  await until('both answer', async () =>
    [await page(rig, 'shop'), await page(rig, 'pulled')].every((body) => /^two$|pulled/.test(body)),
  );
  expect((await rig.requestHost('shop.example.com')).body).toBe('two');
  expect((await rig.request('shop', '/env')).body).toContain(secret);
  await expectNothingLeftBehind(rig);

  const list = await deployments(rig, 'shop');
  expect(list.map(({ number, state, trigger }) => `${number} ${state} ${trigger}`)).toEqual([
    '4 live restore',
    '3 cancelled push',
    '2 live push',
    '1 live push',
  ]);
  expect(list[1]?.reason).toMatch(/^cancelled: Gantry was restored from its backup of /);
  expect((await rig.gantry('logs', '--app', 'shop', '--deploy', '1')).stdout).toMatch(/shop v1 is live/);
  expect((await rig.gantry('logs', '--app', 'shop', '--deploy', '3')).code).not.toBe(0);
  expect((await rig.gantry('audit')).stdout).toMatch(/gantry restore .*restore/);
  expect((await rig.gantry('releases', '--app', 'shop')).stdout).toMatch(/v2 /);

  const oldUrl = `http://ana:${oldToken}@127.0.0.1:${rig.port}/shop.git`;
  const clone = await gitClient().run(['clone', '--quiet', oldUrl, join(shelf, 'clone')]);
  expect(clone.stderr).toBe('');
  const head = await gitClient().run(['-C', join(shelf, 'clone'), 'rev-parse', 'HEAD']);
  expect(head.stdout.trim()).toBe(second);
  await repo.commit({ version: 'four', Dockerfile: dockerfile.replace('sleep 30', 'true') });
  expect((await repo.push(oldUrl)).stderr).toMatch(/success: shop v5 is live/);
  expect((await rig.request('shop', '/env')).body).toContain('another one');
}, 180_000);

test('only the data folder is lost: containers that run go on serving, and what is newer than the backup makes way', async () => {
  await using rig = await Rig.start();
  rig.explainFailures();
  await using repo = await appRepository('page');
  await repo.push(await rig.pushUrl('steady'));
  await repo.push(await rig.pushUrl('late'));
  await rig.gantryHere('backup', file, '--key', key);
  const before = await containers(rig, 'steady');
  await repo.commit({ version: 'two' });
  expect((await repo.push(await rig.pushUrl('late'))).code).toBe(0);

  await lose(rig, 'not the containers');
  expect((await restore(rig)).code).toBe(0);
  await rig.start();
  await until('the new router has its routes', async () => (await page(rig, 'steady')) === 'one');
  const visitors = new Visitors(rig.httpPort, 'steady.localhost', 100);
  // The image of v1 is still here, so nothing is deployed; a number that was given is not given again.
  await until('the state of the backup serves', async () => (await page(rig, 'late')) === 'one');
  await expectNothingLeftBehind(rig);
  await visitors.leave();
  expect(visitors.failures).toEqual([]);
  expect(await containers(rig, 'steady')).toEqual(before);
  expect((await deployments(rig, 'steady')).map(({ number }) => number)).toEqual([1]);
  expect((await deployments(rig, 'late')).map(({ number }) => number)).toEqual([1]);
  expect((await repo.push(await rig.pushUrl('late'))).stderr).toMatch(/success: late v3 is live/);
  expect(await page(rig, 'late')).toBe('two');
}, 120_000);

describe('a restore is refused', () => {
  let rig: Rig;
  let other: Rig;
  beforeEach(async () => {
    rig = await Rig.start();
    other = await Rig.make();
    rig.explainFailures();
    await using repo = await appRepository('page');
    await repo.push(await rig.pushUrl('shop'));
    await rig.gantryHere('backup', file, '--key', key);
  });
  afterEach(async () => {
    await other[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  test('with another key, of a file that is cut or changed, over what is there, and beside a Gantry that runs: nothing is changed', async () => {
    const expectRefusal = async (end: GitResult, because: RegExp): Promise<void> => {
      expect(end.stderr).toMatch(because);
      expect(end.stderr).toMatch(/^error: [^\n]+\n(hint: [^\n]+\n)?$/);
      expect(end.code).not.toBe(0);
      expect(await readdir(other.dataDir)).toEqual([]);
    };
    const wrong = join(shelf, 'wrong.key');
    await writeFile(wrong, `aaaaaaaa:${Buffer.alloc(32, 1).toString('base64')}\n`);
    await expectRefusal(await restore(other, file, wrong), /wrong\.key is not the key of this backup/);
    const id = (await readFile(key, 'utf8')).split(':')[0];
    await writeFile(wrong, `${id}:${Buffer.alloc(32, 1).toString('base64')}\n`);
    await expectRefusal(await restore(other, file, wrong), /wrong\.key is not the key of this backup/);

    const whole = await readFile(file);
    const broken = join(shelf, 'broken');
    const notWhole =
      /broken is not a whole backup, or was changed since it was written: nothing was restored/;
    // In a file, between two of them, before its end, and nothing at all.
    for (const length of [1000, 512 * 3, whole.length - 2048, 0]) {
      await writeFile(broken, whole.subarray(0, length));
      await expectRefusal(await restore(other, broken), notWhole);
    }
    const changed = Buffer.from(whole);
    const place = changed.indexOf('ref: refs/heads/');
    changed.write('ref: refs/heats/', place);
    await writeFile(broken, changed);
    await expectRefusal(await restore(other, broken), notWhole);
    await expectRefusal(await restore(other, key), /gantry\.key is not a whole backup/);
    const newer = Buffer.from(whole);
    newer.write('9', newer.indexOf('"schema": ') + '"schema": '.length);
    await writeFile(broken, newer);
    await expectRefusal(await restore(other, broken), /was written by a newer Gantry .*schema 9/);

    await writeFile(join(other.dataDir, 'mine'), 'something');
    const over = await restore(other);
    expect(over.stderr).toMatch(
      /^error: \S+ is not empty \(mine is there\): a backup is restored into an empty folder\nhint: move what is there away/,
    );
    expect(over.code).toBe(5);
    expect(await readdir(other.dataDir)).toEqual(['mine']);

    const beside = await restore(rig);
    expect(beside.stderr).toMatch(/^error: a Gantry runs on port \d+\nhint: end it first/);
    expect((await rig.request('shop')).body).toBe('one');
  }, 60_000);

  test('when an earlier one was killed, no server starts on half of it, and the next restore does', async () => {
    await copyFile(key, join(other.dataDir, 'half'));
    await mkdir(join(other.dataDir, 'restoring'));
    const end = await other.failToStart();
    expect(end.stderr).toMatch(
      /^error: a backup was not restored to its end into .*; type gantry restore again$/m,
    );
    await rig.stop();
    expect((await restore(other)).code).toBe(0);
    expect(existsSync(join(other.dataDir, 'half'))).toBe(false);
    expect(await other.storeId).toBe(await rig.storeId);
  });
});

test('a backup goes through a pipe, and doctor knows how old it is', async () => {
  await using rig = await Rig.start();
  await using repo = await appRepository('page');
  await repo.push(await rig.pushUrl('shop'));
  expect((await rig.gantryHere('doctor')).stdout).toMatch(
    /^warn +backup +there never was one\n +-> gantry backup FILE/m,
  );
  const key1 = await rig.gantryHere('backup', file);
  expect(key1.stderr).toMatch(/not in it: the key, without which it cannot be restored/);
  expect(existsSync(key)).toBe(false);
  expect((await rig.gantryHere('doctor')).stdout).toMatch(/^ok +backup +the last one is of today/m);
  const metrics = await fetch(`http://127.0.0.1:${rig.port}/metrics`, {
    headers: { authorization: `Bearer ${await rig.token}` },
  });
  expect(await metrics.text()).toMatch(/^gantry_backup_timestamp_seconds \d{10}/m);
  // Also while it is stopped, when Redis is started for it.
  await rig.stop();
  const piped = await rig.gantryHere('backup', '-', '--key', key);
  expect(piped.code).toBe(0);
  expect(piped.stdout).toContain('manifest.json');
  expect(await readdir(join(rig.dataDir, 'redis'))).not.toContain('redis.pid');
  const taken = await rig.gantryHere('backup', '-', '--key', file);
  expect(taken.stderr).toMatch(/is there and holds something else: name another file for the key/);
});
