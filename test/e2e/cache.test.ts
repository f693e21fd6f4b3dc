import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { baseImage, localDocker } from '../support/base-image.ts';
import { appRepository, Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start();
  for (const app of ['shop', 'other']) {
    await using repo = await appRepository('page');
    const push = await repo.push(await rig.pushUrl(app));
    if (push.code !== 0) throw new Error(push.stderr);
  }
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

const docker = localDocker();

async function prefix(): Promise<string> {
  return `gantry-${(await rig.storeId).slice(0, 6)}`;
}

async function namesOf(app: string): Promise<string[]> {
  const images = await docker.listImages({ filters: { reference: [`${await prefix()}/${app}`] } });
  return images.flatMap(({ RepoTags }) => RepoTags ?? []).sort();
}

/** The engine forgets them, as another machine never knew them; what runs goes on. */
async function forget(names: readonly string[]): Promise<void> {
  for (const name of names) await docker.getImage(name).remove({ force: true });
}

test('the images of an app are moved: what is loaded can be rolled back to', async () => {
  await using repo = await appRepository('page', { version: 'one' });
  const url = await rig.pushUrl('moved');
  await repo.push(url);
  await repo.commit({ version: 'two' }, 'two');
  expect((await repo.push(url)).code).toBe(0);
  const names = await namesOf('moved');
  expect(names).toHaveLength(2);

  const file = join(rig.dataDir, 'moved.tar');
  expect(await rig.gantryHere('cache', 'save', 'moved', file)).toMatchObject({
    code: 0,
    stderr: 'saved v1, v2 of moved\n',
  });
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readdir(rig.dataDir)).not.toContain('moved.tar.part');
  await forget(names);
  expect(await namesOf('moved')).toEqual([]);

  expect(await rig.gantryHere('cache', 'load', 'moved', file)).toMatchObject({
    code: 0,
    stderr: 'loaded v1, v2 of moved\n',
  });
  expect(await namesOf('moved')).toEqual(names);
  expect((await rig.gantryHere('cache', 'load', 'moved', file)).stderr).toBe(
    'loaded nothing of moved; v1, v2 were here\n',
  );
  expect((await rig.gantry('rollback', 'v1', '--app', 'moved')).code).toBe(0);
  expect((await rig.request('moved')).body).toBe('one');
});

test('nothing of an archive is loaded that is not of the app, or would take the place of something', async () => {
  const [ours = ''] = await namesOf('shop');
  const [theirs = ''] = await namesOf('other');
  const idOf = async (name: string): Promise<string> => (await docker.getImage(name).inspect()).Id;
  const before = await idOf(ours);
  // Named as if it were of the app: by what it says itself it is of another one.
  const forged = `${await prefix()}/shop:v9-0123456`;
  await docker.getImage(theirs).tag({ repo: `${await prefix()}/shop`, tag: 'v9-0123456' });
  const stranger = `${await prefix()}.stranger:1`;
  await docker.getImage(theirs).tag({ repo: `${await prefix()}.stranger`, tag: '1' });
  // The name of one that is here, for another.
  const [repo = '', tag = ''] = ours.split(':');
  await docker.getImage(theirs).tag({ repo, tag });
  const archive = await saved(theirs, baseImage, ours, forged, stranger);
  await docker.getImage(before).tag({ repo, tag });
  await forget([forged, stranger]);

  const file = join(rig.dataDir, 'strange.tar');
  await writeFile(file, archive);
  const done = await rig.gantryHere('cache', 'load', 'shop', file);
  expect(done.stderr.split('\n')).toEqual(
    expect.arrayContaining(
      [theirs, baseImage, forged, stranger].map(
        (name) => `left out: ${name} is no image of shop in this Gantry`,
      ),
    ),
  );
  expect(done.stderr).toContain('loaded nothing of shop; v1 were here');
  expect(await namesOf('shop')).toEqual([ours]);
  expect(await idOf(ours)).toBe(before);
  await expect(idOf(stranger)).rejects.toThrow(/no such image/i);
});

test('what is no archive of images is refused in a line', async () => {
  const lines = async (content: Buffer): Promise<string> => {
    const file = join(rig.dataDir, 'broken.tar');
    await writeFile(file, content);
    const { code, stderr } = await rig.gantryHere('cache', 'load', 'shop', file);
    expect(code).toBe(2);
    expect(stderr.split('\n')).toHaveLength(2);
    return stderr;
  };
  expect(await lines(randomBytes(4096))).toContain('cannot load');
  expect(await lines(await tar({ 'readme.txt': 'hello' }))).toContain('it is no archive of images');
  expect(await lines(await tar({ 'manifest.json': 'no JSON' }))).toContain('cannot load');
  expect(await lines(await tar({ 'manifest.json': ' '.repeat(5_000_000) }))).toContain(
    'its manifest.json is too large',
  );
  const [name = ''] = await namesOf('shop');
  const whole = await saved(name);
  expect(await lines(whole.subarray(0, whole.length / 2))).toContain('cannot load');
  expect(await namesOf('shop')).toEqual([name]);
});

test('says what is not there', async () => {
  expect(await rig.gantryHere('cache', 'save', 'nobody', '-')).toMatchObject({
    code: 4,
    stderr: 'error: there is no image of nobody on this machine\n',
  });
  expect((await rig.gantryHere('cache', 'save', 'Not an app', '-')).code).toBe(2);
  const [name = ''] = await namesOf('other');
  const file = join(rig.dataDir, 'other.tar');
  await writeFile(file, await saved(name));
  const done = await rig.gantryHere('cache', 'load', 'shop', file);
  expect(done.code).toBe(2);
  expect(done.stderr).toContain(`nothing was loaded: ${file} holds no image of shop in this Gantry`);
});

test('a large image goes through pipes with little memory', async () => {
  await using repo = await appRepository('page', {
    Dockerfile:
      'FROM gantry-test/base:1\nRUN dd if=/dev/zero of=/zeros bs=1M count=200\nCOPY version /www/index.html\nCMD ["httpd","-f","-p","8080","-h","/www"]\n',
  });
  expect((await repo.push(await rig.pushUrl('large'))).code).toBe(0);
  const names = await namesOf('large');
  const cli = join(process.cwd(), 'dist/cli.js');
  const start = (...args: string[]) =>
    spawn(process.execPath, [cli, 'cache', ...args, 'large', '-'], { env: rig.env, stdio: 'pipe' });
  const [saving, loading] = [start('save'), start('load')];
  let bytes = 0;
  const peak = { save: 0, load: 0 };
  saving.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  saving.stdout.pipe(loading.stdin);
  const watching = setInterval(() => {
    void note('save', saving.pid);
    void note('load', loading.pid);
  }, 50);
  const note = async (which: 'save' | 'load', pid: number | undefined): Promise<void> => {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    peak[which] = Math.max(peak[which], Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024);
  };
  const said = buffer(loading.stderr).then(String);
  const code = await new Promise((resolve) => loading.once('close', resolve));
  clearInterval(watching);
  expect({ code, said: await said }).toEqual({ code: 0, said: 'loaded nothing of large; v1 were here\n' });
  expect(bytes).toBeGreaterThan(200 * 1024 ** 2);
  expect(await namesOf('large')).toEqual(names);
  expect(peak.save).toBeLessThan(240);
  expect(peak.load).toBeLessThan(240);
});

async function saved(...names: string[]): Promise<Buffer> {
  const query = names.map((name) => `names=${encodeURIComponent(name)}`).join('&');
  return new Promise((resolve, reject) => {
    docker.modem.dial(
      {
        method: 'GET',
        path: `/images/get?${query}&`,
        options: {},
        isStream: true,
        statusCodes: { 200: true },
      },
      (error, answer) => (error ? reject(error) : resolve(buffer(answer as NodeJS.ReadableStream))),
    );
  });
}

async function tar(files: Record<string, string>): Promise<Buffer> {
  const out = pack();
  for (const [name, content] of Object.entries(files)) out.entry({ name }, content);
  out.finalize();
  return buffer(out);
}
