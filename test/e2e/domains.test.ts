import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { appRepository, Rig, requestHost, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '20' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

async function answers(host: string, body: string): Promise<void> {
  await until(`${host} answers`, async () => (await requestHost(rig.httpPort, host)).body === body);
}

test('an app answers under each of its domains at once, also after a deployment and a restart', async () => {
  await using repo = await appRepository('page', { version: 'one' });
  const url = await rig.pushUrl('shop');
  expect(await repo.push(url)).toMatchObject({ code: 0 });
  const add = await rig.gantry('domains', 'add', 'Bücher.example', '--app', 'shop');
  expect(add).toMatchObject({
    code: 0,
    stderr: expect.stringContaining('xn--bcher-kva.example leads to shop') as string,
  });
  expect(await rig.gantry('domains', 'add', 'shop.example.com', '--app', 'shop')).toMatchObject({ code: 0 });
  await answers('xn--bcher-kva.example', 'one');
  await answers('SHOP.example.com', 'one');
  expect((await rig.request('shop')).body).toBe('one');
  const list = await rig.gantry('domains', '--app', 'shop', '--json');
  expect(JSON.parse(list.stdout)).toEqual(['shop.localhost', 'shop.example.com', 'xn--bcher-kva.example']);

  await repo.commit({ version: 'two' });
  expect(await repo.push(url)).toMatchObject({ code: 0 });
  expect((await requestHost(rig.httpPort, 'shop.example.com')).body).toBe('two');
  await rig.crash();
  await rig.start();
  await answers('shop.example.com', 'two');

  expect(await rig.gantry('domains', 'remove', 'shop.example.com', '--app', 'shop')).toMatchObject({
    code: 0,
  });
  await until(
    'it answers no more',
    async () => (await requestHost(rig.httpPort, 'shop.example.com')).status === 404,
  );
  expect((await requestHost(rig.httpPort, 'xn--bcher-kva.example')).body).toBe('two');
});

test('a domain is of one app, and not the name of another', async () => {
  await rig.setEnv('one', {});
  await rig.setEnv('other', {});
  expect(await rig.gantry('domains', 'add', 'only.example.com', '--app', 'one')).toMatchObject({ code: 0 });
  expect(await rig.gantry('domains', 'add', 'only.example.com', '--app', 'one')).toMatchObject({ code: 0 });
  for (const [args, reason] of [
    [['add', 'only.example.com'], /another app's/],
    [['remove', 'only.example.com'], /other has no domain only\.example\.com/],
    [['add', 'one.localhost'], /names below localhost are those of apps/],
    [['add', 'https://x.example/'], /that is a URL/],
  ] as const) {
    const refused = await rig.gantry('domains', ...args, '--app', 'other');
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(reason);
  }
});

test('apps share a host by paths, those alone who may deploy them all, and a deleted app leaves none', async () => {
  await using repo = await appRepository('web', { version: 'front' });
  await using back = await appRepository('web', { version: 'back' });
  const pushed = await Promise.all([
    repo.push(await rig.pushUrl('front')),
    back.push(await rig.pushUrl('back')),
  ]);
  expect(pushed.map(({ code }) => code)).toEqual([0, 0]);
  const add = (app: string, domain: string, token?: string) =>
    rig.gantryIn(token ? { GANTRY_TOKEN: token } : {}, 'domains', 'add', domain, '--app', app);
  const stranger = await rig.createToken('stranger', ['deploy:back' as 'admin']);
  const owner = await rig.createToken('owner', ['deploy:back' as 'admin', 'deploy:front' as 'admin']);

  expect((await add('front', 'site.example.com')).code).toBe(0);
  for (const domain of ['site.example.com/API', 'front.localhost/api']) {
    const refused = await add('back', domain, stranger);
    expect(refused.stderr).toMatch(/another app's|names below localhost are those of apps/);
    expect(refused.code).not.toBe(0);
    expect((await add('back', domain, owner)).code).toBe(0);
  }
  expect((await add('back', 'nobody.localhost/api')).stderr).toContain('names below localhost');
  expect((await add('front', 'site.example.com/api/')).stderr).toContain("is another app's");
  for (const host of ['site.example.com', 'front.localhost']) {
    await until(host, async () => (await requestHost(rig.httpPort, host, '/api/x')).body === 'back');
    expect((await requestHost(rig.httpPort, host, '/apis')).body).toBe('front');
  }
  const list = await rig.gantry('domains', '--app', 'back');
  expect(list.stdout).toBe('back.localhost\nfront.localhost/api\nsite.example.com/api\n');

  const removed = await rig.gantry('domains', 'remove', 'site.example.com/api', '--app', 'back');
  expect(removed.code).toBe(0);
  await until(
    'the path is gone',
    async () => (await requestHost(rig.httpPort, 'site.example.com', '/api')).body === 'front',
  );
  const deleted = await rig.gantry('apps', 'delete', 'front', '--confirm', 'front');
  expect(deleted.code).toBe(0);
  expect((await rig.gantry('domains', '--app', 'back')).stdout).toBe('back.localhost\n');
});
