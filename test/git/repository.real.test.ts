import { mkdtemp, readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AppName, type CommitSha, parseAppName, parseCommitSha } from '../../src/domain/app.ts';
import { Repositories } from '../../src/git/repositories.ts';
import { type TestFiles, temporaryRepository } from '../support/git.ts';

const app = parseAppName('shop') as AppName;
const emptyTree = '4b825dc642cb6eb9a060e54bf8d69288fbee4904' as CommitSha;
let root: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'gantry-repositories-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** A bare repository that holds what a working repository pushed to it. */
async function pushed(files: TestFiles) {
  const repositories = new Repositories(await mkdtemp(join(root, 'r-')));
  const repository = await repositories.create(app);
  const work = await temporaryRepository(files);
  async function push(...refspecs: string[]): Promise<void> {
    const result = await work.push(repository.path, refspecs.length > 0 ? refspecs : 'main');
    expect(result).toMatchObject({ code: 0 });
  }
  async function head(revision = 'HEAD'): Promise<CommitSha> {
    return parseCommitSha((await work.git('rev-parse', revision)).stdout.trim()) as CommitSha;
  }
  await push();
  return {
    repositories,
    repository,
    work,
    push,
    head,
    sha: await head(),
    [Symbol.asyncDispose]: work[Symbol.asyncDispose],
  };
}

async function everythingIn(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true });
  return Promise.all(names.sort().map(async (name) => `${name} ${(await stat(join(folder, name))).mtimeMs}`));
}

describe('the repositories of all apps', () => {
  it('creates one repository when several first pushes race', async () => {
    const repositories = new Repositories(join(root, 'race'));
    await Promise.all(Array.from({ length: 8 }, () => repositories.create(app)));
    expect(await repositories.list()).toEqual(['shop']);
    expect(await readdir(repositories.root)).toEqual(['shop.git']);
    expect(await repositories.exists(app)).toBe(true);
  });

  it('forgets a removed app, also when asked twice', async () => {
    const repositories = new Repositories(join(root, 'remove'));
    await repositories.create(app);
    await repositories.remove(app);
    await repositories.remove(app);
    expect(await repositories.exists(app)).toBe(false);
    expect(await readdir(repositories.root)).toEqual([]);
  });

  it('is removed when it is nobody’s and nothing was ever accepted', async () => {
    const { repositories, ...rest } = await pushed({ a: '1' });
    await using _ = rest;
    const [refused, live] = [parseAppName('refused') as AppName, parseAppName('live') as AppName];
    await repositories.create(refused);
    await repositories.create(live);
    await repositories.removeUnused(async (name) => name === live);
    // That a repository with a branch belongs to nobody must be a mistake: a store that is gone, for example.
    expect((await repositories.list()).sort()).toEqual([live, app].sort());
  });

  it('lists nothing where nothing is', async () => {
    expect(await new Repositories(join(root, 'missing')).list()).toEqual([]);
  });
});

describe('refs', () => {
  it('reads a branch, a missing branch, and the commit behind an annotated tag', async () => {
    await using given = await pushed({ a: '1' });
    const { repository, work, push, sha } = given;
    await work.git('tag', '--annotate', '--message', 'v1', 'v1');
    await push('v1');
    expect(await repository.readRef('refs/heads/main')).toBe(sha);
    expect(await repository.readRef('refs/heads/none')).toBeUndefined();
    expect(await repository.readRef('refs/tags/v1')).toBe(sha);
  });

  it('fails loudly instead of calling a ref missing when the repository cannot be read', async () => {
    const repository = new Repositories(join(root, 'nowhere')).open(app);
    await expect(repository.readRef('refs/heads/main')).rejects.toThrow(/not a git repository/);
  });

  it('moves a ref only from where the caller saw it', async () => {
    await using given = await pushed({ a: '1' });
    const { repository, work, push, head, sha } = given;
    await work.commit({ a: '2' });
    await push('HEAD:refs/heads/other');
    const second = await head();
    expect(await repository.compareAndSwapRef('refs/heads/main', second, undefined)).toBe(false);
    expect(await repository.compareAndSwapRef('refs/heads/main', second, second)).toBe(false);
    expect(await repository.readRef('refs/heads/main')).toBe(sha);
    expect(await repository.compareAndSwapRef('refs/heads/main', second, sha)).toBe(true);
    expect(await repository.compareAndSwapRef('refs/heads/new', sha, undefined)).toBe(true);
    expect(await repository.readRef('refs/heads/main')).toBe(second);
  });

  it('pins and unpins a commit, twice without harm', async () => {
    await using given = await pushed({ a: '1' });
    const { repository, sha } = given;
    await repository.pin('shop-7', sha);
    await repository.pin('shop-7', sha);
    expect(await repository.pins()).toEqual(['shop-7']);
    await repository.unpin('shop-7');
    await repository.unpin('shop-7');
    expect(await repository.pins()).toEqual([]);
  });

  it.each([
    '-x',
    '--upload-pack=x',
    'main',
    'refs/heads/a..b',
    'refs/heads/a b',
    'refs/heads/a\0b',
    'refs/heads/@{1}',
  ])('refuses %j as a ref name', async (name) => {
    await using given = await pushed({ a: '1' });
    const { repository } = given;
    await expect(repository.readRef(name)).rejects.toThrow('not a full ref name');
  });
});

describe('what a commit says', () => {
  it('tells subject and author, cut to a sensible length', async () => {
    await using given = await pushed({ a: '1' });
    const { repository, work, push, head } = given;
    await work.commit({ a: '2' }, `Größer ${'x'.repeat(5000)}\n\nbody`);
    await push();
    const info = await repository.commitInfo(await head());
    expect(info).toMatchObject({ sha: await head(), author: 'Ana' });
    expect(info?.subject).toMatch(/^Größer x{100,}$/);
    expect(info?.subject.length).toBe(200);
  });

  it('knows ancestors, and says no when it cannot know', async () => {
    await using given = await pushed({ a: '1' });
    const { repository, work, push, head, sha } = given;
    await work.commit({ a: '2' });
    await push();
    expect(await repository.isAncestor(sha, await head())).toBe(true);
    expect(await repository.isAncestor(await head(), sha)).toBe(false);
    expect(await repository.isAncestor('1'.repeat(40) as CommitSha, sha)).toBe(false);
  });

  it('leads from a tag to its commit and from a tree to nothing', async () => {
    await using given = await pushed({ a: '1' });
    const { repository, work, push, head, sha } = given;
    await work.git('tag', '--annotate', '--message', 'v1', 'v1');
    await push('v1');
    expect((await repository.commitInfo(await head('v1')))?.sha).toBe(sha);
    expect(await repository.commitInfo(await head('HEAD^{tree}'))).toBeUndefined();
    expect(await repository.commitInfo('1'.repeat(40) as CommitSha)).toBeUndefined();
  });
});

describe('the files of a commit', () => {
  it('are refused in git’s words, and only those, when they cannot be written', async () => {
    await using it = await pushed({ Dockerfile: 'FROM scratch' });
    const unknown = 'f'.repeat(40) as CommitSha;
    await expect(it.repository.checkout(unknown, join(root, 'unknown'))).rejects.toThrow(
      /^fatal: [^\n]+\n?$/,
    );
  });

  it('checks out contents, modes and links, and leaves the repository as it was', async () => {
    await using given = await pushed({
      Dockerfile: 'FROM scratch\n',
      'run.sh': { content: '#!/bin/sh\n', executable: true },
      'deep/er/päth': Buffer.from([0, 255, 13, 10]),
      link: { linkTo: '/etc/passwd' },
      '.gitattributes': 'Dockerfile export-ignore\n*.sh filter=evil\n',
    });
    const { repository, sha } = given;
    const before = await everythingIn(repository.path);
    const folder = join(await mkdtemp(join(root, 'co-')), 'work');
    await repository.checkout(sha, folder);

    expect((await readdir(folder)).sort()).toEqual([
      '.gitattributes',
      'Dockerfile',
      'deep',
      'link',
      'run.sh',
    ]);
    expect(await readFile(join(folder, 'deep/er/päth'))).toEqual(Buffer.from([0, 255, 13, 10]));
    expect((await stat(join(folder, 'run.sh'))).mode & 0o777).toBe(0o755);
    expect((await stat(join(folder, 'Dockerfile'))).mode & 0o777).toBe(0o644);
    expect(await readlink(join(folder, 'link'))).toBe('/etc/passwd');
    expect(await readdir(join(folder, '..'))).toEqual(['work']);
    expect(await everythingIn(repository.path)).toEqual(before);
  });

  it('checks out an empty tree', async () => {
    await using given = await pushed({});
    const { repository, work, push, head } = given;
    await work.git(
      'reset',
      '--hard',
      (await work.git('commit-tree', '-m', 'empty', emptyTree)).stdout.trim(),
    );
    await push('+main');
    const folder = join(await mkdtemp(join(root, 'co-')), 'work');
    await repository.checkout(await head(), folder);
    expect(await readdir(folder)).toEqual([]);
  });

  it('never writes into a folder that exists', async () => {
    await using given = await pushed({ a: '1' });
    const { repository, sha } = given;
    await expect(repository.checkout(sha, await mkdtemp(join(root, 'co-')))).rejects.toThrow(/EEXIST/);
  });

  it('leaves submodules as empty folders and names them', async () => {
    await using given = await pushed({ a: '1' });
    const { repository, work, push, head, sha } = given;
    await work.git('update-index', '--add', '--cacheinfo', `160000,${sha},vendor/lib`);
    await work.git('commit', '--message', 'module');
    await push();
    const folder = join(await mkdtemp(join(root, 'co-')), 'work');
    await repository.checkout(await head(), folder);
    expect(await readdir(join(folder, 'vendor/lib'))).toEqual([]);
    expect(await repository.submodulePaths(await head())).toEqual(['vendor/lib']);
    expect(await repository.submodulePaths(sha)).toEqual([]);
  });

  it('finds files whose content is in Git LFS', async () => {
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 9\n`;
    await using lfs = await pushed({
      '.gitattributes': '*.bin filter=lfs -text\n',
      'a b.bin': pointer,
      'b.txt': 'x',
    });
    expect(await lfs.repository.lfsPointers(lfs.sha)).toEqual(['a b.bin']);
    await using plain = await pushed({ 'a.bin': pointer });
    expect(await plain.repository.lfsPointers(plain.sha)).toEqual([]);
  });

  it('answers whether a file is there without a checkout', async () => {
    await using given = await pushed({ Dockerfile: 'x', 'docker/Dockerfile': 'y', '*': 'z' });
    const { repository, sha } = given;
    expect(await repository.hasFile(sha, 'Dockerfile')).toBe(true);
    expect(await repository.hasFile(sha, 'docker/Dockerfile')).toBe(true);
    expect(await repository.hasFile(sha, 'docker')).toBe(false);
    expect(await repository.hasFile(sha, 'Docker*')).toBe(false);
    expect(await repository.hasFile(sha, '-x')).toBe(false);
    expect(await repository.listFiles(sha)).toEqual(['*', 'Dockerfile']);
    expect(await repository.listFiles(sha, 'docker')).toEqual(['docker/Dockerfile']);
  });
});
