import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { everyFile } from '../support/every-file.ts';
import { gitClient } from '../support/git.ts';
import { appRepository, Rig, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

type Listed = { id: string; name: string; scopes: string[]; createdBy: string; lastUsed: string | null };

async function listed(name: string): Promise<Listed | undefined> {
  const { stdout } = await rig.gantry('tokens', '--json');
  return (JSON.parse(stdout) as Listed[]).find((token) => token.name === name);
}

async function make(name: string, ...options: string[]): Promise<string> {
  const made = await rig.gantry('tokens', 'create', name, ...options);
  if (made.code !== 0) throw new Error(made.stderr);
  return made.stdout.trim();
}

const url = (token: string, app = 'shop'): string => `http://ci:${token}@127.0.0.1:${rig.port}/${app}.git`;

async function bearer(token: string, path: string): Promise<{ status: number; body: string }> {
  const response = await fetch(`http://127.0.0.1:${rig.port}/api/v1${path}`, {
    headers: { authorization: `Bearer ${token}` },
  });
  return { status: response.status, body: await response.text() };
}

describe('a token', () => {
  test('is shown once, kept as a hash, and tells who made it and when it was used', async () => {
    const token = await make('ci', '--scope', 'deploy:shop', 'read:blog', '--expires', '90d');
    expect(token).toMatch(/^gantry_[\w-]{43}$/);
    expect(await listed('ci')).toMatchObject({
      scopes: ['deploy:shop', 'read:blog'],
      createdBy: 'admin',
      lastUsed: null,
    });
    const whoami = await bearer(token, '/whoami');
    expect(JSON.parse(whoami.body)).toMatchObject({ name: 'ci', admin: false });
    const lastUsed = (await listed('ci'))?.lastUsed ?? '';
    expect(Date.now() - Date.parse(lastUsed)).toBeLessThan(60_000);
    expect((await rig.gantry('tokens')).stdout).toMatch(
      /^\w{12} +ci +deploy:shop read:blog +admin +\d{4}-\d\d-\d\d \d\d:\d\d UTC +\d/m,
    );
    expect(await everyFile(rig.dataDir)).not.toContain(token.slice('gantry_'.length));
  });

  test('is the password of git and works as bearer, until it is revoked', async () => {
    const token = await make('pusher', '--scope', 'deploy:shop');
    await using repo = await appRepository('page');
    const push = await repo.push(url(token));
    expect(push.stderr).toContain('shop v1 is live');
    expect((await bearer(token, '/apps')).body).toContain('"shop"');
    const elsewhere = await repo.push(url(token, 'other'));
    expect(elsewhere.stderr).toContain('app "other" not found or not yours');

    const id = (await listed('pusher'))?.id ?? '';
    expect((await rig.gantry('tokens', 'revoke', id)).stderr).toContain(`token ${id} is revoked`);
    const refused = await bearer(token, '/apps');
    expect(refused.status).toBe(401);
    expect(refused.body).toContain('wrong or was revoked');
    await repo.commit({ version: 'two' });
    const again = await repo.push(url(token));
    expect(again.code).toBe(128);
    expect(again.stderr).toContain('remote: the token is wrong or was revoked');
    const twice = await rig.gantry('tokens', 'revoke', id);
    expect(twice.code).toBe(4);
  });

  test('stops working when it expires, and git is told why', async () => {
    const token = await rig.createToken('short', ['admin'], new Date(Date.now() + 3000));
    expect((await bearer(token, '/whoami')).status).toBe(200);
    await until('it has expired', async () => (await bearer(token, '/whoami')).status === 401);
    const listing = await gitClient().run(['ls-remote', url(token)]);
    expect(listing.code).toBe(128);
    expect(listing.stderr).toMatch(/remote: token "short" expired on \d{4}-\d\d-\d\d\n/);
  });

  test('takes with it what is still being sent, when it is revoked and when it expires', async () => {
    await rig.gantry('run', '--app', 'shop', '--detach', '--', 'busybox', 'sleep', '1000');
    const follow = async (token: string): Promise<Promise<string>> => {
      const headers = { authorization: `Bearer ${token}` };
      const log = await fetch(`http://127.0.0.1:${rig.port}/api/v1/apps/shop/tasks/1/logs`, { headers });
      expect(log.status).toBe(200);
      return log.text().catch(() => 'cut');
    };
    const following = follow(await rig.createToken('watcher', ['read:shop']));
    const brief = follow(await rig.createToken('brief', ['read:shop'], new Date(Date.now() + 2000)));
    const mine = follow(await rig.token);
    await until('it is looked at', async () => (await listed('watcher'))?.lastUsed !== null);
    await rig.gantry('tokens', 'revoke', (await listed('watcher'))?.id ?? '');
    expect(await following).toBe('cut');
    expect(await brief).toBe('cut');
    await rig.gantry('tasks', 'cancel', '1', '--app', 'shop');
    expect(await mine).toContain('"end":"FAILED"');
  });

  test('is refused with a reason when it makes no sense', async () => {
    const wrong = [
      ['x', '--scope', 'write:shop'],
      ['x', '--scope', 'admin', '--expires', '2001-01-01'],
      ['', '--scope', 'admin'],
    ];
    for (const options of wrong) expect((await rig.gantry('tokens', 'create', ...options)).code).toBe(2);
    const scope = await rig.gantry('tokens', 'create', ...(wrong[0] ?? []));
    expect(scope.stderr).toContain(
      'error: "write:shop" is no scope\nhint: scopes are admin, deploy:APP and read:APP',
    );
    expect(scope.stdout).toBe('');
    expect(await listed('x')).toBeUndefined();
  });
});

test("the last administrator's token stays; when all have expired, a start writes a new one", async () => {
  const admin = (await listed('admin'))?.id ?? '';
  const refused = await rig.gantry('tokens', 'revoke', admin);
  expect(refused.code).toBe(5);
  expect(refused.stderr).toContain('this is the only token of an administrator');
  expect((await rig.gantry('whoami')).stdout).toBe('admin (admin)\n');

  const before = await rig.token;
  const brief = await rig.createToken('brief', ['admin'], new Date(Date.now() + 4000));
  expect((await rig.gantry('tokens', 'revoke', admin)).code).toBe(0);
  await until('it has expired', async () => (await bearer(brief, '/whoami')).status === 401);
  await rig.stop();
  await rig.start();
  expect(await rig.token).not.toBe(before);
  expect((await stat(join(rig.dataDir, 'admin-token'))).mode & 0o777).toBe(0o600);
  expect((await rig.gantry('whoami')).stdout).toBe('admin (admin)\n');
});
