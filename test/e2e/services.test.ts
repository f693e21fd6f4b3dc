import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { appRepository, Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

const password = 'correct-horse-battery';
const uri = `postgres://ana:${password}@db.example:5433/shop`;

/** Shows its own variables and those its build saw. */
const showsItself = {
  Dockerfile: `FROM gantry-test/node:1
COPY . /app
RUN --mount=type=secret,id=DATABASE_URL cp /run/secrets/DATABASE_URL /app/built || true
CMD ["node","/app/server.js"]
`,
  'server.js': `
    const fs = require('node:fs');
    console.log('the database is ' + process.env.DATABASE_URL);
    require('node:http').createServer((req, res) => {
      res.end(req.url === '/built' ? fs.readFileSync('/app/built') : JSON.stringify(process.env));
    }).listen(process.env.PORT);`,
};

async function envOf(app: string): Promise<Record<string, string>> {
  return JSON.parse((await rig.request(app)).body) as Record<string, string>;
}

describe('a service that runs elsewhere', () => {
  test('is in every container of the apps it is bound to from their next deployment on, and hidden in what they print', async () => {
    await using repo = await appRepository('web', showsItself);
    expect((await repo.push(await rig.pushUrl('shop'))).code).toBe(0);
    expect(await envOf('shop')).not.toHaveProperty('VCAP_SERVICES');

    const made = await rig.gantryWith(
      JSON.stringify({ uri, apiKey: 'a-key-of-twelve' }),
      'services',
      'create',
      'db',
      '--credentials',
      '-',
      '--tag',
      'sql',
    );
    expect(made.stderr).toMatch(/db is there; give it to an app: gantry bind APP db/);
    const bind = await rig.gantry('bind', 'shop', 'db');
    expect(bind.stderr).toMatch(/shop has db with its next deployment: gantry restart --app shop/);
    expect(await envOf('shop')).not.toHaveProperty('DATABASE_URL');
    expect((await rig.gantry('restart', '--app', 'shop')).stdout).toMatch(/with its services: db/);

    const env = await envOf('shop');
    expect(env).toMatchObject({
      DATABASE_URL: uri,
      POSTGRESQL_ADDON_URI: uri,
      POSTGRESQL_ADDON_HOST: 'db.example',
      POSTGRESQL_ADDON_PORT: '5433',
      POSTGRESQL_ADDON_USER: 'ana',
      POSTGRESQL_ADDON_PASSWORD: password,
      POSTGRESQL_ADDON_DB: 'shop',
    });
    expect(JSON.parse(env.VCAP_SERVICES ?? '')).toMatchObject({
      'user-provided': [{ name: 'db', tags: ['sql'], credentials: { uri, apiKey: 'a-key-of-twelve' } }],
    });
    expect(JSON.parse(env.VCAP_APPLICATION ?? '')).toMatchObject({
      application_name: 'shop',
      application_uris: ['shop.localhost'],
    });

    const task = await rig.gantry(
      'run',
      '--app',
      'shop',
      '--no-tty',
      '--',
      'node',
      '-p',
      'process.env.DATABASE_URL',
    );
    expect(task).toMatchObject({ code: 0, stdout: '(hidden)\n' });
    const logs = await rig.gantry('logs', '--app', 'shop', '--source', 'app');
    expect(logs.stdout).toMatch(/the database is \(hidden\)/);
    expect(logs.stdout).not.toContain(password);
    // Of a rebuild, as a secret that leaves no trace.
    expect((await rig.gantry('redeploy', '--app', 'shop', '--no-cache')).code).toBe(0);
    expect((await rig.request('shop', '/built')).body).toBe(uri);

    expect((await rig.gantry('services', 'delete', 'db')).stderr).toMatch(/is bound to shop/);
    expect((await rig.gantry('unbind', 'shop', 'db')).code).toBe(0);
    expect((await rig.gantry('services', 'delete', 'db')).code).toBe(0);
    expect((await rig.gantry('restart', '--app', 'shop')).code).toBe(0);
    expect(await envOf('shop')).not.toHaveProperty('DATABASE_URL');
  });

  test("does not overrule the app's own variables, nor does a change of it break the build cache", async () => {
    await using repo = await appRepository('web', {
      ...showsItself,
      Dockerfile: 'FROM gantry-test/node:1\nCOPY . /app\nRUN echo built\nCMD ["node","/app/server.js"]\n',
    });
    await rig.setEnv('own', { DATABASE_URL: 'sqlite:mine.db' });
    await create('first', { uri });
    await rig.gantry('bind', 'own', 'first');
    expect((await repo.push(await rig.pushUrl('own'))).code).toBe(0);
    expect(await envOf('own')).toMatchObject({ DATABASE_URL: 'sqlite:mine.db', POSTGRESQL_ADDON_URI: uri });

    const other = 'postgres://bob:something-else@db2.example/shop';
    expect(
      (await rig.gantry('services', 'update', 'first', '--credentials', JSON.stringify({ uri: other })))
        .stderr,
    ).toMatch(/gantry restart --app own/);
    const again = await rig.gantry('redeploy', '--app', 'own');
    expect(again.stdout).toMatch(/(\d+) of \1 steps cached/);
    expect(await envOf('own')).toMatchObject({ POSTGRESQL_ADDON_URI: other });
    // A rollback brings back code and variables; the credentials of now are the ones that work.
    expect((await rig.gantry('rollback', '--app', 'own')).code).toBe(0);
    expect(await envOf('own')).toMatchObject({ POSTGRESQL_ADDON_URI: other });
  });

  test('shows its credentials to administrators who ask for them', async () => {
    const file = join(rig.dataDir, 'credentials.json');
    await writeFile(file, JSON.stringify({ uri, key: 'k' }));
    await rig.gantry('services', 'create', 'shown', '--credentials', `@${file}`);
    const hidden = await rig.gantry('services', 'show', 'shown');
    expect(hidden.stdout).toMatch(/credentials\.uri +\(hidden/);
    expect(hidden.stdout).not.toContain(password);
    expect((await rig.gantry('services', 'show', 'shown', '--credentials')).stdout).toContain(uri);
    expect(JSON.parse((await rig.gantry('services', 'show', 'shown', '--json')).stdout)).toMatchObject({
      credentials: null,
      credentialNames: ['uri', 'key'],
    });
    expect(JSON.parse((await rig.gantry('services', '--json')).stdout)).toContainEqual(
      expect.objectContaining({ name: 'shown', label: 'user-provided', apps: [] }),
    );
  });

  test('that is shared can be bound by who may deploy the app, and no other', async () => {
    await rig.api('POST', '/apps', { name: 'theirs' });
    await create('private', { uri });
    await create('common', { uri });
    await rig.gantry('services', 'update', 'common', '--shared');
    const token = await rig.createToken('ben', ['deploy:theirs']);
    const asBen = (...args: string[]) => rig.gantryIn({ GANTRY_TOKEN: token }, ...args);
    expect(JSON.parse((await asBen('services', '--json')).stdout)).toEqual([
      expect.objectContaining({ name: 'common', apps: [] }),
    ]);
    expect(await asBen('bind', 'theirs', 'private')).toMatchObject({ code: 4 });
    expect(await asBen('bind', 'theirs', 'common')).toMatchObject({ code: 0 });
    expect((await asBen('services', 'list', '--app', 'theirs')).stdout).toMatch(/common +user-provided/);
    expect(await asBen('services', 'show', 'common', '--credentials')).toMatchObject({ code: 3 });
    // Nor does who may not read an app learn that it has the service.
    const other = await rig.createToken('eve', ['deploy:other']);
    const seen = await rig.gantryIn({ GANTRY_TOKEN: other }, 'services', '--json');
    expect(seen.stdout).not.toContain('theirs');
    expect(await asBen('unbind', 'theirs', 'common')).toMatchObject({ code: 0 });
  });

  test('is forgotten by an app that is deleted', async () => {
    await rig.api('POST', '/apps', { name: 'gone' });
    await create('left', { uri });
    await rig.gantry('bind', 'gone', 'left');
    expect((await rig.gantry('apps', 'delete', 'gone', '--confirm', 'gone')).code).toBe(0);
    expect(await rig.gantry('services', 'delete', 'left')).toMatchObject({ code: 0 });
  });

  test.each([
    ['text', 'not json, s3cret', /the credentials are not JSON; give an object/],
    ['half', '{"a":1', /the credentials are not JSON; give an object/],
    ['list', '[1]', /the credentials are not a JSON object/],
    ['string', '"s3cret"', /the credentials are not a JSON object/],
    ['DB', '{}', /"DB" cannot be a service/],
    ['a_b', '{}', /"a_b" cannot be a service/],
    ['localhost', '{}', /"localhost" cannot be a service/],
    ['big', JSON.stringify({ key: 'x'.repeat(70_000) }), /at most 64 KiB/],
  ])('called %s is refused in one line', async (name, credentials, message) => {
    const refused = await rig.gantryWith(credentials, 'services', 'create', name, '--credentials', '-');
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringMatching(message) });
    expect(refused.stderr).not.toContain('s3cret');
    expect(refused.stderr.trim().split('\n').length).toBeLessThanOrEqual(2);
  });
});

async function create(name: string, credentials: object): Promise<void> {
  const made = await rig.api('POST', '/services', { name, credentials });
  if (made.status !== 201) throw new Error(made.body);
}
