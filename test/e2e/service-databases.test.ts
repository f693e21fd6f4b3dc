import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { makeRedisImage } from '../support/look-alike-images.ts';
import { notesInPostgres, postgresImage } from '../support/postgres-image.ts';
import { appRepository, Rig, until } from '../support/rig.ts';

let rig: Rig;
let postgres: string;
beforeAll(async () => {
  [postgres, rig] = await Promise.all([postgresImage(), Rig.start()]);
}, 900_000);
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

const notes = async (query = ''): Promise<string> =>
  (await rig.request('notes', `/cgi-bin/notes${query}`)).body.trim();

async function containerOf(service: string) {
  const label = [`gantry.store=${await rig.storeId}`, `gantry.service=${service}`];
  const [found] = await localDocker().listContainers({ filters: { label } });
  return localDocker().getContainer(found?.Id ?? '');
}

describe('an app with a database', () => {
  test('finds its data again after three deployments, restarts and a restored backup', async () => {
    const made = await rig.gantry(
      'services',
      'create',
      'db',
      '--template',
      'postgresql',
      '--image',
      postgres,
    );
    expect(made.stderr).toMatch(/db is there/);
    await rig.api('POST', '/apps', { name: 'notes' });
    await rig.gantry('bind', 'notes', 'db');

    await using repo = await appRepository('web', notesInPostgres(postgres, 'v1'));
    const push = await repo.push(await rig.pushUrl('notes'));
    expect(push.stderr).toMatch(/with its services: db/);
    expect(push.code).toBe(0);
    expect(await notes('?first')).toBe('first');
    for (const version of ['v2', 'v3', 'v4']) {
      await repo.commit(notesInPostgres(postgres, version));
      expect((await repo.push(await rig.pushUrl('notes'))).code).toBe(0);
      expect((await rig.request('notes')).body).toBe(version);
      expect(await notes()).toBe('first');
    }

    const isThere = (): Promise<boolean> => notes().then((text) => text === 'first');
    await (await containerOf('db')).restart();
    await until('the database answers again', isThere);
    await (await containerOf('db')).remove({ force: true });
    await until('the database is made again', isThere);

    const file = `${rig.dataDir}/db.tar`;
    expect((await rig.gantry('services', 'backup', 'db', file)).stderr).toMatch(/db runs again/);
    expect(await notes('?second')).toBe('first second');
    const restored = await rig.gantry('services', 'restore', 'db', file, '--confirm', 'db');
    expect(restored.stderr).toMatch(/db has the data of the backup/);
    expect(await notes()).toBe('first');
  }, 180_000);

  test('has one with a password that nobody else knows, and no way in without it', async () => {
    const show = await rig.gantry('services', 'show', 'db', '--credentials', '--json');
    const { credentials } = JSON.parse(show.stdout) as { credentials: Record<string, string> };
    expect(credentials).toMatchObject({ hostname: 'db', port: 5432, username: 'app', name: 'app' });
    expect(credentials.uri).toBe(`postgresql://app:${credentials.password}@db:5432/app`);
    expect(credentials.password).toMatch(/^[0-9a-f]{48}$/);
    const wrong = await rig.gantry(
      'run',
      '--app',
      'notes',
      '--no-tty',
      '--',
      'psql',
      'postgresql://app:wrong@db/app',
      '-c',
      'select 1',
    );
    expect(wrong.stdout).toMatch(/password authentication failed/);
    expect(await rig.log()).not.toContain(credentials.password);
  }, 30_000);

  test('has Redis with its password in no argument of a process', async () => {
    const image = await makeRedisImage(localDocker());
    const made = await rig.gantry('services', 'create', 'cache', '--template', 'redis', '--image', image);
    expect(made.stderr).toMatch(/cache is there/);
    await rig.gantry('bind', 'notes', 'cache');
    expect((await rig.gantry('restart', '--app', 'notes')).stdout).toMatch(/with its services: db, cache/);
    const ask = async (request: string): Promise<string> => {
      const line = `printf 'AUTH %s\\r\\n${request}\\r\\nQUIT\\r\\n' "$REDIS_PASSWORD" | busybox nc "$REDIS_HOST" "$REDIS_PORT"`;
      const task = await rig.gantry('run', '--app', 'notes', '--no-tty', '--', 'sh', '-c', line);
      return task.stdout.replaceAll('\r', '');
    };
    expect(await ask('SET a kept')).toBe('+OK\n+OK\n+OK\n');
    const { Processes } = await (await containerOf('cache')).top();
    expect(JSON.stringify(Processes)).not.toMatch(/[0-9a-f]{48}/);

    await (await containerOf('cache')).restart();
    await until('it has its data again', async () => /\$4\nkept/.test(await ask('GET a')));
    // Both at once: the database is still the one that is called so.
    expect(await notes()).toBe('first');
  }, 90_000);
});
