import { spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type GitResult, resultOf } from '../support/git.ts';
import { appRepository, Rig } from '../support/rig.ts';
import { Terminal } from '../support/terminal.ts';

const gantry = fileURLToPath(new URL('../../bin/gantry', import.meta.url));

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());

/** Somebody's machine: a home with no settings but these. */
let home: string;
beforeEach(async () => {
  rig.explainFailures();
  home = await mkdtemp(join(tmpdir(), 'gantry-home-'));
  // Whoever is asked for a password leaves a note; and other helpers that would like to know one.
  await writeFile(join(home, 'askpass'), `#!/bin/sh\necho "$@" >>'${home}/asked'\n`);
  await chmod(join(home, 'askpass'), 0o755);
  await writeFile(join(home, '.gitconfig'), `[credential]\n\thelper = store --file=${home}/kept-by-git\n`);
});
afterEach(() => rm(home, { recursive: true, force: true }));

const env = (): Record<string, string> => ({
  PATH: process.env.PATH ?? '',
  HOME: home,
  GIT_ASKPASS: join(home, 'askpass'),
  GIT_CONFIG_NOSYSTEM: '1',
});
const url = (): string => `http://127.0.0.1:${rig.port}`;
const read = (name: string): Promise<string> => readFile(join(home, name), 'utf8').catch(() => '');
const logins = '.config/gantry/logins.json';

function run(cwd: string, input: string, ...args: string[]): Promise<GitResult> {
  const child = spawn(gantry, args, { cwd, env: env(), stdio: 'pipe' });
  child.stdin.end(input);
  return resultOf(child);
}

const push = (repo: Awaited<ReturnType<typeof appRepository>>, remote = 'clever'): Promise<GitResult> =>
  repo.push(remote, 'main', { env: env() });

test('login, link, push: nobody is asked for anything, and the app is found by the remote', async () => {
  const token = await rig.createToken('ana', ['deploy:shop']);
  await using repo = await appRepository('page');
  const login = await run(repo.path, `${token}\n`, 'login', `${url()}/`);
  expect(login.stderr).toBe(`logged in to ${url()} as ana (deploy:shop); kept in ${join(home, logins)}\n`);
  expect((await stat(join(home, logins))).mode & 0o777).toBe(0o600);
  expect((await stat(join(home, '.config/gantry'))).mode & 0o777).toBe(0o700);

  const link = await run(repo.path, '', 'link', 'shop');
  expect(link.stderr).toContain(`is linked to ${url()}/shop.git, which the first push creates`);
  expect((await run(repo.path, '', 'link', 'shop')).code).toBe(0);
  const pushed = await push(repo);
  expect(pushed.stderr).toContain('shop v1 is live');
  expect(pushed.code).toBe(0);
  expect(await read('asked')).toBe('');
  expect(await read('kept-by-git')).toBe('');
  expect((await repo.git('remote', 'get-url', 'clever')).stdout).not.toContain(token);

  // Any command, without a setting; and what is given on the command line comes first.
  expect(JSON.parse((await run(repo.path, '', 'deploys', '--json')).stdout)).toHaveLength(1);
  expect((await run(repo.path, '', 'deploys', '--app', 'blog')).code).toBe(4);
  expect((await run(repo.path, '', 'whoami')).stdout).toBe('ana (deploy:shop)\n');
  expect((await run(home, '', 'whoami')).stdout).toBe('ana (deploy:shop)\n');
  const elsewhere = await run(repo.path, '', 'link', 'blog');
  expect(elsewhere.code).toBe(5);
  expect(elsewhere.stderr).toContain('the git remote "clever" leads elsewhere already');

  expect((await run(repo.path, '', 'logout')).code).toBe(0);
  expect(await read(logins)).not.toContain(token);
  expect(await read('.gitconfig')).not.toContain(url());
  await repo.commit({ version: 'two' });
  const refused = await push(repo);
  expect(refused.code).toBe(128);
  expect(refused.stderr).toContain(`error: there is no token for ${url()}\nhint: gantry login ${url()}`);
  expect(await read('asked')).toBe('');
});

test('a wrong token is not kept, and one that is revoked is forgotten by the next push', async () => {
  await using repo = await appRepository('page');
  const wrong = await run(repo.path, 'gantry_wrong\n', 'login', url());
  expect(wrong.code).toBe(3);
  expect(wrong.stderr).toContain('the token is wrong or was revoked');
  expect(await read(logins)).toBe('');
  expect((await run(repo.path, '', 'login', url())).code).toBe(2);
  expect((await run(repo.path, 'x', 'login', 'ftp://example.com')).code).toBe(2);

  const token = await rig.createToken('brief', ['deploy:other']);
  await run(repo.path, token, 'login', url());
  await run(repo.path, '', 'link', 'other');
  const { stdout } = await rig.gantry('tokens', '--json');
  const id = (JSON.parse(stdout) as { id: string; name: string }[]).find(({ name }) => name === 'brief')?.id;
  await rig.gantry('tokens', 'revoke', id ?? '');
  const refused = await push(repo);
  expect(refused.stderr).toContain('remote: the token is wrong or was revoked');
  expect(await read(logins)).not.toContain(token);
  const again = await push(repo);
  expect(again.stderr).toContain(`hint: gantry login ${url()}`);
  expect(await read('asked')).toBe('');
});

test('what is typed is not shown', async () => {
  const token = await rig.createToken('typist', ['read:shop']);
  const terminal = Terminal.open(rig, 200, 24, 'login', url());
  await terminal.sees(`Token for ${url()} (it is not shown): `);
  terminal.type('x\u007f');
  terminal.type(`${token}\r`);
  await terminal.sees('as typist (read:shop)');
  expect(await terminal.ended).toBe(0);
  expect(terminal.screen).not.toContain(token);
  // The terminal is as it was.
  expect(terminal.screen).toMatch(/^icanon/m);
  expect((await stat(join(rig.dataDir, logins))).mode & 0o777).toBe(0o600);
});

test('the helper answers for servers it knows and keeps quiet about secrets of others', async () => {
  const token = await rig.createToken('bob', ['deploy:shop']);
  await run(home, token, 'login', url());
  const asked = (host: string): string => `protocol=http\nhost=${host}\n\n`;
  expect((await run(home, asked(`127.0.0.1:${rig.port}`), 'credential', 'get')).stdout).toBe(
    `username=gantry\npassword=${token}\n`,
  );
  expect((await run(home, asked('127.0.0.1:1'), 'credential', 'get')).stdout).toBe('quit=1\n');
  expect((await run(home, asked('evil.example'), 'credential', 'get')).stdout).not.toContain(token);
  expect((await run(home, 'nonsense', 'credential', 'get')).stdout).toBe('');
  const other = `${asked(`127.0.0.1:${rig.port}`).trimEnd()}\npassword=another\n\n`;
  await run(home, other, 'credential', 'store');
  await run(home, other, 'credential', 'erase');
  expect(await read(logins)).toContain(token);
});

test('on the machine of the server no login is needed, and what the environment says comes before one', async () => {
  await using repo = await appRepository('page');
  const here = { ...env(), GANTRY_DATA: rig.dataDir, GANTRY_PORT: String(rig.port) };
  const link = spawn(gantry, ['link', 'local'], { cwd: repo.path, env: here, stdio: 'pipe' });
  expect((await resultOf(link)).code).toBe(0);
  const pushed = await repo.push('clever', 'main', { env: here });
  expect(pushed.stderr).toContain('local v1 is live');
  expect((await repo.git('remote', 'get-url', 'clever')).stdout).toBe(
    `http://localhost:${rig.port}/local.git\n`,
  );

  const token = await rig.createToken('ci', ['deploy:elsewhere']);
  await repo.commit({ version: 'two' });
  const ci = await repo.push('clever', 'main', {
    env: { ...env(), GANTRY_TOKEN: token, GANTRY_URL: `http://localhost:${rig.port}` },
  });
  expect(ci.stderr).toContain('app "local" not found or not yours');
  expect(await read('asked')).toBe('');
});
