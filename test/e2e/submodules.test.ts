import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Forge, forgeLogin, startForge, startRigOf, startSshd } from '../support/forge.ts';
import { temporaryRepository } from '../support/git.ts';
import { appRepository, Rig } from '../support/rig.ts';

let forge: Forge;
let stranger: Forge;
let rig: Rig;
beforeAll(async () => {
  forge = await startForge();
  stranger = await startForge();
  rig = await startRigOf(forge);
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
  await forge[Symbol.asyncDispose]();
  await stranger[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

type Module = { path: string; url: string; commit: string; name?: string };

/** An app that serves its checkout, with submodules as `git submodule add` would record them. */
async function appWith(...modules: Module[]) {
  const repo = await appRepository('page', {
    Dockerfile: 'FROM gantry-test/base:1\nCOPY . /www\nCMD ["httpd","-f","-p","8080","-h","/www"]\n',
    'index.html': 'the page',
    '.gitmodules': gitmodules(modules),
  });
  await addLinks(repo, modules);
  return repo;
}

function gitmodules(modules: readonly Module[]): string {
  return modules
    .map(({ name, path, url }) => `[submodule "${name ?? path}"]\n\tpath = ${path}\n\turl = ${url}\n`)
    .join('');
}

async function addLinks(
  repo: { git: (...args: string[]) => Promise<unknown> },
  modules: readonly Module[],
): Promise<void> {
  for (const { path, commit } of modules)
    await repo.git('update-index', '--add', '--cacheinfo', `160000,${commit},${path}`);
  await repo.git('commit', '--quiet', '--message', 'Add submodules');
}

/** A repository on the forge that has a submodule itself. */
async function addNesting(name: string, inner: Module): Promise<string> {
  const { path } = await forge.add(name, { '.gitmodules': gitmodules([inner]), 'outer.txt': 'outer' });
  await using work = await temporaryRepository();
  await work.git('fetch', '--quiet', path, 'main');
  await work.git('reset', '--quiet', '--hard', 'FETCH_HEAD');
  await addLinks(work, [inner]);
  await work.git('push', '--quiet', path, 'HEAD:main');
  return (await work.git('rev-parse', 'HEAD')).stdout.trim();
}

test('submodules are fetched over https, theirs too, whatever commit is recorded, and nothing of git is left', async () => {
  const inner = await forge.add('inner.git', { 'inner.txt': 'from the inner one' });
  const outer = await addNesting('outer.git', {
    path: 'deep/inner',
    url: `${forge.url}/inner.git`,
    commit: inner.commit,
  });
  await using repo = await appWith({ path: 'vendor/outer', url: `${forge.url}/outer.git`, commit: outer });
  await rig.setEnv('nested', { CC_PRE_BUILD_HOOK: 'find . -name ".git*" | sort; ls ..' });
  const push = await repo.push(await rig.pushUrl('nested'));
  expect(push.stderr).toMatch(
    /submodule vendor\/outer: https:\/\/127\.0\.0\.1:\d+\/outer\.git at [0-9a-f]{7}/,
  );
  expect(push.stderr).toMatch(/submodule vendor\/outer\/deep\/inner: /);
  expect(push.code).toBe(0);
  expect((await rig.request('nested', '/vendor/outer/outer.txt')).body).toBe('outer');
  expect((await rig.request('nested', '/vendor/outer/deep/inner/inner.txt')).body).toBe('from the inner one');
  expect(push.stderr).not.toMatch(/^remote: +\.\/.*\.git *$|\.submodules/m);
});

test('a login in the URL is used, and shown to nobody', async () => {
  const lib = await forge.add('secret.git', { 'lib.txt': 'private' });
  const { user, password } = forgeLogin;
  const url = `https://${user}:${password}@127.0.0.1:${forge.port}/private/secret.git`;
  await using repo = await appWith({ path: 'lib', url, commit: lib.commit });
  const push = await repo.push(await rig.pushUrl('login'));
  expect(push.code).toBe(0);
  expect(push.stderr).not.toContain(password);
  await using without = await appWith({
    path: 'lib',
    url: `${forge.url}/private/secret.git`,
    commit: lib.commit,
  });
  const bad = await without.push(await rig.pushUrl('no-login'));
  expect(bad.stderr).toMatch(/the submodule lib cannot be fetched: it is private, or not there/);
  expect(bad.code).toBe(1);
});

test('CC_DISABLE_GIT_SUBMODULES leaves them out, and says which', async () => {
  const lib = await forge.add('left-out.git', { 'lib.txt': 'x' });
  await using repo = await appWith({ path: 'lib', url: `${forge.url}/left-out.git`, commit: lib.commit });
  await rig.setEnv('disabled', { CC_DISABLE_GIT_SUBMODULES: 'true' });
  const push = await repo.push(await rig.pushUrl('disabled'));
  expect(push.stderr).toMatch(/submodules are not fetched \(CC_DISABLE_GIT_SUBMODULES\).*: lib/);
  expect(push.code).toBe(0);
  expect(forge.requests.filter((request) => request.includes('left-out'))).toEqual([]);
});

const someCommit = '1234567890123456789012345678901234567890';

describe('a submodule is refused, by name and URL, when', () => {
  test.each([
    ['its URL is relative', () => '../lib.git', /its URL is relative[^]*write the whole URL/],
    ['it comes over http', () => 'http://127.0.0.1/lib.git', /only https and ssh URLs are fetched/],
    ['it is a file', () => 'file:///etc', /only https and ssh URLs are fetched/],
    ['it needs a key', () => 'git@127.0.0.1:lib.git', /ssh needs a key[^]*CC_SSH_PRIVATE_KEY=@file/],
    [
      'it is at an internal address',
      () => 'https://10.0.0.1/lib.git',
      /10\.0\.0\.1 is an address of an internal network/,
    ],
    [
      'it is where clouds keep secrets',
      () => 'https://169.254.169.254/x',
      /an address of an internal network/,
    ],
    ['its address is internal in IPv6', () => 'https://[::1]/lib.git', /an address of an internal network/],
    [
      'its address hides in IPv6',
      () => 'https://[::ffff:10.0.0.1]/lib.git',
      /an address of an internal network/,
    ],
    ['it is not there', () => `${forge.url}/nowhere.git`, /it is not there, or private/],
    ['it redirects', () => `${forge.url}/moved/plain.git`, /redirects to another URL, which is not followed/],
    ['its commit is nowhere', () => `${forge.url}/plain.git`, /it has no commit 1234567/],
    [
      'its certificate is unknown',
      () => `${stranger.url}/plain.git`,
      /is not trusted here[^]*GANTRY_GIT_CA_FILE/,
    ],
    ['nobody answers', () => 'https://127.0.0.1:1/lib.git', /cannot be fetched: .*(connect|refused)/i],
  ])('%s', async (name, url, said) => {
    if (name === 'it redirects') await forge.add('plain.git', { a: '1' });
    await using repo = await appWith({ path: 'vendor/lib', url: url(), commit: someCommit });
    const push = await repo.push(await rig.pushUrl('refused'));
    expect(push.stderr).toMatch(/the submodule vendor\/lib cannot be fetched: /);
    expect(push.stderr).toContain(url());
    expect(push.stderr).toMatch(said);
    expect(push.stderr).toMatch(/CC_DISABLE_GIT_SUBMODULES=true/);
    expect(push.code).toBe(1);
  });

  test('it is on this machine and no administrator has allowed that', async () => {
    await using strict = await Rig.start({ GANTRY_GIT_CA_FILE: forge.caFile });
    const lib = await forge.add('local.git', { a: '1' });
    for (const host of ['127.0.0.1', 'localhost']) {
      const url = `https://${host}:${forge.port}/local.git`;
      await using repo = await appWith({ path: 'lib', url, commit: lib.commit });
      const push = await repo.push(await strict.pushUrl('local'));
      expect(push.stderr).toMatch(/an address of an internal network[^]*GANTRY_ALLOW_INTERNAL_ADDRESSES/);
    }
    expect(forge.requests.filter((request) => request.includes('local.git'))).toEqual([]);
  });

  test('it includes itself without end', async () => {
    const depth = 7;
    let commit = (await forge.add('level-0.git', { a: '1' })).commit;
    for (let level = 1; level < depth; level += 1)
      commit = await addNesting(`level-${level}.git`, {
        path: 'in',
        url: `${forge.url}/level-${level - 1}.git`,
        commit,
      });
    await using repo = await appWith({ path: 'in', url: `${forge.url}/level-${depth - 1}.git`, commit });
    const push = await repo.push(await rig.pushUrl('endless'));
    expect(push.stderr).toMatch(
      /the submodule (in\/){5}in cannot be fetched: submodules are nested more than 5 deep/,
    );
  });

  test('.gitmodules does not say where it is from', async () => {
    await using repo = await appWith({ path: 'known', url: `${forge.url}/x.git`, commit: someCommit });
    await repo.git('update-index', '--add', '--cacheinfo', `160000,${someCommit},a-stray`);
    await repo.git('commit', '--quiet', '--message', 'A stray link');
    const push = await repo.push(await rig.pushUrl('stray'));
    expect(push.stderr).toMatch(/the submodule a-stray cannot be fetched: \.gitmodules has no URL for it/);
  });
});

test.each([
  ['a name that leaves its place', { name: '../../hooks' }, /gitmodulesName/],
  ['a URL that is an option', { url: '-u./x' }, /gitmodulesUrl/],
])('%s does not even get into the repository', async (_, change, said) => {
  await using repo = await appWith({
    path: 'lib',
    url: 'https://127.0.0.1/x',
    commit: someCommit,
    ...change,
  });
  const push = await repo.push(await rig.pushUrl('hostile'));
  expect(push.stderr).toMatch(said);
  expect(push.code).toBe(1);
});

describe('over ssh', () => {
  test('with CC_SSH_PRIVATE_KEY, which is gone before any hook runs; a server that changes its key is refused', async () => {
    await using sshd = await startSshd();
    const lib = await sshd.add('lib', { 'lib.txt': 'over ssh' });
    await using repo = await appWith({ path: 'lib', url: lib.url, commit: lib.commit });
    await rig.setEnv('ssh', {
      CC_SSH_PRIVATE_KEY: sshd.key.replaceAll('\n', '\r\n').trim(),
      CC_PRE_BUILD_HOOK: 'ls ..; grep -rl "BEGIN OPENSSH" .. || echo no key here',
    });
    const push = await repo.push(await rig.pushUrl('ssh'));
    expect(push.stderr).toMatch(/no key here/);
    expect(push.code).toBe(0);
    expect((await rig.request('ssh', '/lib/lib.txt')).body).toBe('over ssh');
    expect(await filesWith(rig.dataDir, 'BEGIN OPENSSH')).toEqual([]);
    expect((await stat(join(rig.dataDir, 'known-hosts'))).mode & 0o077).toBe(0);

    await repo.commit({ 'index.html': 'two' });
    await addLinks(repo, [{ path: 'lib', url: lib.url, commit: lib.commit }]);
    await sshd.changeHostKey();
    const changed = await repo.push(await rig.pushUrl('ssh'));
    expect(changed.stderr).toMatch(/has another host key than before/);

    await rig.setEnv('ssh-stranger', { CC_SSH_PRIVATE_KEY: sshd.strangersKey });
    expect((await repo.push(await rig.pushUrl('ssh-stranger'))).stderr).toMatch(
      /does not take the key in CC_SSH_PRIVATE_KEY/,
    );
  });
});

/** Files of the data folder, without Redis (where variables are sealed) and the repositories, that hold a text. */
async function filesWith(folder: string, text: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    if ((await readFile(path, 'latin1').catch(() => '')).includes(text)) found.push(path);
  }
  return found;
}
