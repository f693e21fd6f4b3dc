import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseAppName } from '../../src/domain/app.ts';
import { KilledGit } from '../../src/git/killed-git.ts';
import { Repositories } from '../../src/git/repositories.ts';
import type { Repository } from '../../src/git/repository.ts';
import { createLogger } from '../../src/logger.ts';
import { gitClient } from '../support/git.ts';

const app = parseAppName('shop') as NonNullable<ReturnType<typeof parseAppName>>;
let root: string;
let repository: Repository;
let killed: KilledGit;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'gantry-killed-'));
  const repositories = new Repositories(root);
  repository = await repositories.create(app);
  killed = new KilledGit(repositories, createLogger('silent', 'test'));
});
afterEach(() => rm(root, { recursive: true }));

const leave = (name: string): Promise<void> => writeFile(join(repository.path, name), '');
const locks = async (): Promise<string[]> =>
  (await readdir(repository.path, { recursive: true })).filter((name) => name.endsWith('.lock'));

/** Whether a branch can be made, as a push does. */
async function makeBranch(): Promise<number | null> {
  const { stdout } = await gitClient().run(
    ['-C', repository.path, 'hash-object', '-w', '--stdin', '-t', 'commit'],
    {
      input: `tree ${await emptyTree()}\nauthor A <a@b> 0 +0000\ncommitter A <a@b> 0 +0000\n\nx\n`,
    },
  );
  const made = await gitClient().run(['-C', repository.path, 'update-ref', 'refs/heads/main', stdout.trim()]);
  return made.code;
}

async function emptyTree(): Promise<string> {
  const { stdout } = await gitClient().run(['-C', repository.path, 'mktree'], { input: '' });
  return stdout.trim();
}

test('a lock that a killed git left is removed, and branches can be moved again', async () => {
  await leave('refs/heads/main.lock');
  await leave('packed-refs.lock');
  expect(await makeBranch()).not.toBe(0);
  await killed.clearUp();
  expect(await locks()).toEqual([]);
  expect(await makeBranch()).toBe(0);
});

test('a lock that is another one at the next look belongs to somebody', async () => {
  await leave('refs/heads/main.lock');
  await killed.removeLocks(app);
  await utimes(join(repository.path, 'refs/heads/main.lock'), 1, 1);
  await killed.removeLocks(app);
  expect(await locks()).toEqual(['refs/heads/main.lock']);
  await killed.removeLocks(app);
  expect(await locks()).toEqual([]);
});

test('what came of unfinished pushes is thrown away, and what was pushed is not', async () => {
  expect(await makeBranch()).toBe(0);
  const before = await readdir(join(repository.path, 'objects'), { recursive: true });
  await mkdir(join(repository.path, 'objects/tmp_objdir-incoming-x1/pack'), { recursive: true });
  await leave('objects/tmp_objdir-incoming-x1/pack/pack-1.pack');
  await leave('objects/pack/tmp_pack_1');
  await killed.clearUp();
  expect(await readdir(join(repository.path, 'objects'), { recursive: true })).toEqual(before);
});
