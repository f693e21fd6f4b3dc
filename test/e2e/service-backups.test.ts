import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { appRepository, Rig } from '../support/rig.ts';
import { relayApp, storeOptions } from '../support/store-service.ts';

let rig: Rig;
let file: string;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_STOP_TIMEOUT: '2' });
  file = join(rig.dataDir, 'backup.tar');
  await using repo = await appRepository('web', relayApp);
  await rig.gantry('services', 'create', 'db', ...storeOptions);
  await rig.api('POST', '/apps', { name: 'app' });
  await rig.gantry('bind', 'app', 'db');
  const push = await repo.push(await rig.pushUrl('app'));
  if (push.code !== 0) throw new Error(push.stderr);
}, 60_000);
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

async function add(text: string): Promise<string> {
  return (await rig.request('app', `/db:7000/?add=${text}`)).body;
}

async function kept(): Promise<string> {
  return (await rig.request('app', '/db:7000/')).body;
}

const restore = (path: string) => rig.gantry('services', 'restore', 'db', path, '--confirm', 'db');

async function volumes(): Promise<string[]> {
  const filters = { label: [`gantry.store=${await rig.storeId}`] };
  return ((await localDocker().listVolumes({ filters })).Volumes ?? []).map(({ Name }) => Name);
}

async function tarOf(files: Record<string, string>): Promise<Buffer> {
  const tar = pack();
  for (const [name, content] of Object.entries(files)) tar.entry({ name }, content);
  tar.finalize();
  return buffer(Readable.from(tar));
}

describe('the data of a service', () => {
  test('go into a file and come back from it, also through pipes', async () => {
    expect(await add('one')).toBe('one');
    const backup = await rig.gantry('services', 'backup', 'db', file);
    expect(backup).toMatchObject({ code: 0, stderr: expect.stringMatching(/db runs again; its backup is/) });
    expect(await add('two')).toBe('one two');
    expect((await rig.gantryWith(undefined, 'services', 'restore', 'db', file)).stderr).toMatch(
      /this replaces the data of db by those of the backup; to say that you mean it: --confirm db/,
    );
    expect(await kept()).toBe('one two');
    expect(await restore(file)).toMatchObject({ code: 0, stderr: 'db has the data of the backup\n' });
    expect(await kept()).toBe('one');
    expect(await volumes()).toHaveLength(1);

    const piped = await rig.gantry('services', 'backup', 'db', '-');
    await add('three');
    const back = await rig.gantryWith(
      Buffer.from(piped.stdout),
      'services',
      'restore',
      'db',
      '-',
      '--confirm',
      'db',
    );
    expect(back).toMatchObject({ code: 0 });
    expect(await kept()).toBe('one');
    // Nothing of it stays on the server.
    expect(await readdir(join(rig.dataDir, 'service-copies'))).toEqual([]);
  }, 60_000);

  test.each([
    ['no tar', async () => Buffer.from('no tar '.repeat(500)), /that is no tar/],
    ['nothing', async () => Buffer.alloc(0), /that is no archive of a service/],
    ['a tar of something else', () => tarOf({ 'etc/passwd': 'root' }), /that is no archive of a service/],
    [
      'a tar that leaves its folder',
      () => tarOf({ 'data/kept': 'x', '../../etc/passwd': 'root' }),
      /no archive of a service/,
    ],
    [
      'one cut in a file',
      async () => (await readFile(file)).subarray(0, -1024 - 300),
      /the archive (is broken|was cut off)/,
    ],
    [
      'one cut between two files',
      async () => (await readFile(file)).subarray(0, 512),
      /the archive was cut off/,
    ],
  ])('are not touched by %s', async (_, make, message) => {
    const before = await kept();
    const broken = join(rig.dataDir, 'broken.tar');
    await writeFile(broken, await make());
    const refused = await restore(broken);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringMatching(message) });
    expect(await kept()).toBe(before);
    expect(await volumes()).toHaveLength(1);
    expect(await readdir(join(rig.dataDir, 'service-copies'))).toEqual([]);
  });

  test('are those of before when the service does not start with the ones of the backup', async () => {
    const before = await kept();
    const wrong = join(rig.dataDir, 'wrong.tar');
    await writeFile(wrong, await tarOf({ 'data/refuse': 'it ends at once when it finds this' }));
    const refused = await restore(wrong);
    expect(refused.stderr).toMatch(
      /it did not start with them, and has the data of before again: it exited with code 5/,
    );
    expect(refused.code).toBe(1);
    expect(await kept()).toBe(before);
    expect(await volumes()).toHaveLength(1);
  }, 30_000);

  test('are not there of a service that runs elsewhere', async () => {
    await rig.api('POST', '/services', { name: 'elsewhere', credentials: {} });
    const refused = await rig.gantry('services', 'backup', 'elsewhere', file);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringMatching(/elsewhere does not run here/) });
  });
});
