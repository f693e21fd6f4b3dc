import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readlink, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar-stream';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { packContext } from '../../src/docker/build-context.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gantry-context-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function files(contents: Record<string, string>): Promise<void> {
  for (const [path, content] of Object.entries(contents)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
}

type Entry = { name: string; type: string; mode: string; content: string };

async function packed(dockerfile = 'Dockerfile'): Promise<Entry[]> {
  const context = await packContext(folder, dockerfile);
  if (!context.ok) throw new Error(context.reason);
  const entries: Entry[] = [];
  const tar = extract();
  tar.on('entry', ({ name, type, mode, linkname }, stream, next) => {
    const entry = { name, type: String(type), mode: (mode & 0o777).toString(8), content: linkname ?? '' };
    entries.push(entry);
    stream.on('data', (chunk) => {
      entry.content += String(chunk);
    });
    stream.on('end', () => next());
    stream.resume();
  });
  await pipeline(context.tar, tar);
  return entries;
}

const names = async (dockerfile?: string): Promise<string[]> =>
  (await packed(dockerfile)).map(({ name }) => name);

it('holds files, folders and links as they are, in order, without .git', async () => {
  await files({
    Dockerfile: 'FROM x',
    'b/empty': '',
    'b/full': 'content',
    '.git/config': 'secret',
    'sub/.git': 'gitdir: x',
  });
  await writeFile(join(folder, 'run'), '#!', { mode: 0o755 });
  await mkdir(join(folder, 'a'));
  await symlink('/etc/passwd', join(folder, 'c'));
  await symlink('b', join(folder, 'd'));
  const large = 'x'.repeat(1_000_000);
  await writeFile(join(folder, `${'long'.repeat(40)}ü`), large);
  expect(await packed()).toEqual(
    [
      { name: 'Dockerfile', type: 'file', mode: '644', content: 'FROM x' },
      { name: 'a/', type: 'directory', mode: '755', content: '' },
      { name: 'b/', type: 'directory', mode: '755', content: '' },
      { name: 'b/empty', type: 'file', mode: '644', content: '' },
      { name: 'b/full', type: 'file', mode: '644', content: 'content' },
      { name: 'c', type: 'symlink', mode: '777', content: '/etc/passwd' },
      { name: 'd', type: 'symlink', mode: '777', content: 'b' },
      { name: `${'long'.repeat(40)}ü`, type: 'file', mode: '644', content: large },
      { name: 'run', type: 'file', mode: '755', content: '#!' },
      { name: 'sub/', type: 'directory', mode: '755', content: '' },
    ].map((entry) => ({ ...entry, name: entry.name.replace(/\/$/, '') })),
  );
});

it('leaves out what is excluded, but finds exceptions in excluded folders', async () => {
  await files({
    Dockerfile: '',
    'out/a': '',
    'out/deep/keep': '',
    'in/a': '',
    '.dockerignore': 'out\n!out/deep/keep',
  });
  expect(await names()).toEqual(['.dockerignore', 'Dockerfile', 'in', 'in/a', 'out/deep/keep']);
});

it('always holds the Dockerfile and the ignore file', async () => {
  await files({ 'deploy/Dockerfile': '', 'deploy/x': '', a: '', '.dockerignore': '*' });
  expect(await names('deploy/Dockerfile')).toEqual(['.dockerignore', 'deploy/Dockerfile']);
});

it('prefers the ignore file beside the Dockerfile', async () => {
  await files({
    'web.Dockerfile': '',
    'web.Dockerfile.dockerignore': 'a',
    '.dockerignore': 'b',
    a: '',
    b: '',
  });
  expect(await names('web.Dockerfile')).toEqual([
    '.dockerignore',
    'b',
    'web.Dockerfile',
    'web.Dockerfile.dockerignore',
  ]);
});

it('fails instead of ending early when a file is shorter than it was', async () => {
  await files({ Dockerfile: '', a: 'x'.repeat(5_000_000), b: 'x'.repeat(5_000_000) });
  const context = await packContext(folder, 'Dockerfile');
  if (!context.ok) throw new Error(context.reason);
  // It may fail before anybody reads on; then the pipeline tells of it.
  context.tar.on('error', () => {});
  // Nobody reads more, so the walk waits in the middle of `a`.
  await once(context.tar, 'readable');
  await truncate(join(folder, 'a'), 0);
  const reader = extract().on('entry', (_, stream, next) => {
    // The entry that is being read fails with the whole.
    stream
      .on('end', next)
      .on('error', () => {})
      .resume();
  });
  await expect(pipeline(context.tar, reader)).rejects.toThrow('Size mismatch');
});

it('stops reading when it is destroyed', async () => {
  await files({ Dockerfile: '', a: 'x'.repeat(5_000_000) });
  const context = await packContext(folder, 'Dockerfile');
  if (!context.ok) throw new Error(context.reason);
  await once(context.tar, 'readable');
  context.tar.destroy();
  await once(context.tar, 'close');
  const openFiles = async (): Promise<string[]> => {
    const links = await readdir('/proc/self/fd');
    return await Promise.all(links.map(async (fd) => await readlink(`/proc/self/fd/${fd}`).catch(() => '')));
  };
  await expect.poll(openFiles).not.toContain(join(folder, 'a'));
});
