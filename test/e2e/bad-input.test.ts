import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { gitClient, type TestFiles, temporaryRepository } from '../support/git.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { appRepository, Rig } from '../support/rig.ts';

// Whatever it is given, Gantry answers with one line that explains, keeps nothing of it and serves on.

let rig: Rig;
let repo: Awaited<ReturnType<typeof appRepository>>;
let commit: string;
let pack: Buffer;

beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '5', GANTRY_TRUSTED_PROXIES: '127.0.0.1/32' });
  repo = await appRepository('page');
  await repo.push(await rig.pushUrl('shop'));
  commit = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
  pack = await repo.gitBytes(['pack-objects', '--all', '--stdout', '-q']);
});
afterAll(async () => {
  await repo[Symbol.asyncDispose]();
  await rig[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());
afterEach(() => expectServing());

/** The app that was there before, in the router and in git; and nothing has run what a name says. */
async function expectServing(): Promise<void> {
  expect(await rig.request('shop')).toMatchObject({ status: 200, body: 'one' });
  expect((await repo.git('ls-remote', await rig.pushUrl('shop'), 'main')).stdout).toContain(commit);
  expect(existsSync(marker())).toBe(false);
}

/** What hostile names try to make. */
const marker = (): string => join(rig.dataDir, 'marker');

type Said = { status: number; body: string };

/** Sends the path as it is: `fetch` and git tidy it up. */
async function ask(
  path: string,
  { method = 'GET', headers = {}, body = undefined as string | Buffer | undefined } = {},
): Promise<Said> {
  return new Promise((resolve, reject) => {
    const req = request({ host: '127.0.0.1', port: rig.port, path, method, headers }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      res.on('end', () => resolve({ status: res.statusCode ?? 0, body: text }));
    });
    req.on('error', reject);
    req.end(body);
  });
}

async function authorization(token: string | Promise<string> = rig.token): Promise<Record<string, string>> {
  return { authorization: `Basic ${Buffer.from(`ana:${await token}`).toString('base64')}` };
}

async function post(
  service: 'receive-pack' | 'upload-pack',
  body: string | Buffer,
  headers: Record<string, string> = {},
): Promise<Said> {
  const type = { 'content-type': `application/x-git-${service}-request` };
  return ask(`/shop.git/git-${service}`, {
    method: 'POST',
    headers: { ...(await authorization()), ...type, ...headers },
    body,
  });
}

function packet(text: string): string {
  return (Buffer.byteLength(text) + 4).toString(16).padStart(4, '0') + text;
}

/** A push as git would send it. */
function pushBody(ref = 'refs/heads/other'): Buffer {
  const command = packet(`${'0'.repeat(40)} ${commit} ${ref}\0report-status side-band-64k`);
  return Buffer.concat([Buffer.from(`${command}0000`), pack]);
}

/** One line, without a stack or a path of ours. */
function expectOneLine(text: string): void {
  expect(text.trimEnd()).toMatch(/^[^\n]+$/);
  expect(text).not.toMatch(/\n +at |node_modules|\.[jt]s:\d/);
  expect(text).not.toContain(rig.dataDir);
}

async function repositories(): Promise<string[]> {
  return (await readdir(join(rig.dataDir, 'git'))).sort();
}

async function deploys(app: string): Promise<number> {
  const answer = await rig.api('GET', `/apps/${app}/deployments`);
  return answer.status === 404
    ? 0
    : (JSON.parse(answer.body) as { deployments: unknown[] }).deployments.length;
}

/** The lines of a push that the server wrote. */
function remoteLines(stderr: string): string[] {
  return stderr.split('\n').flatMap((line) => /^remote: (.*\S) *$/.exec(line)?.[1] ?? []);
}

describe('names and paths', () => {
  const names = [
    '..',
    '.',
    '.git',
    '%2e%2e',
    '..%2fshop',
    '%2e%2e%2fkeys',
    'shop%2f..%2fshop',
    'shop%00',
    'Shop',
    'SHOP',
    'sh_op',
    '-shop',
    'shop-',
    '1shop',
    'shop;id',
    '$(id)',
    '`id`',
    '%7c%20id',
    'shop%0aid',
    'sh%C3%B6p',
    '__proto__',
    'a'.repeat(41),
  ];

  test.each(names)('%s cannot be an app', async (name) => {
    const before = await repositories();
    for (const path of [
      `/${name}.git/info/refs?service=git-receive-pack`,
      `/${name}/info/refs?service=git-upload-pack`,
    ]) {
      const { status, body } = await ask(path, { headers: await authorization() });
      expect({ path, status }).toEqual({ path, status: 404 });
      expect(body).toMatch(/cannot be an app: an app name has 1 to 40 lower-case letters/);
      expectOneLine(body);
    }
    expect(await repositories()).toEqual(before);
  });

  test.each([
    '/../keys/info/refs?service=git-upload-pack',
    '/shop.git/../shop.git/info/refs?service=git-upload-pack',
    '/shop.git/HEAD',
    '/shop.git/config',
    '/shop.git/objects/info/packs',
    '/shop.git/info/refs',
    '/shop.git/info/refs?service=git-upload-pack&service=git-receive-pack',
    '/shop.git/info/refs?service=git-%75pload-pack',
    '//shop.git/info/refs?service=git-upload-pack',
    '/shop.git\\info/refs?service=git-upload-pack',
    `/${'a'.repeat(8000)}.git/info/refs?service=git-upload-pack`,
    '/etc/passwd',
  ])('%s is nothing', async (path) => {
    const { status, body } = await ask(path, { headers: await authorization() });
    expect(status).toBe(404);
    expectOneLine(body);
  });

  test.each(['api', 'www', 'admin'])('%s is reserved, says the client and the API', async (name) => {
    const push = await repo.push(await rig.pushUrl(name));
    expect(push.code).not.toBe(0);
    expect(push.stderr).toContain(`remote: "${name}" cannot be an app: that name is reserved`);
    const answer = await rig.api('POST', '/apps', { name });
    expect(answer.status).toBe(422);
    expect(answer.body).toContain('that name is reserved');
  });

  test('a push to a bad name says why, in one line', async () => {
    for (const name of ['Shop', 'shop;id', '%2e%2e']) {
      const push = await repo.push(await rig.pushUrl(name));
      expect(push.code).toBe(128);
      expect(remoteLines(push.stderr)).toEqual([expect.stringMatching(/cannot be an app: an app name has/)]);
    }
    expect(await repositories()).toEqual(['shop.git']);
  });

  test.each([
    ['POST', '/apps', { name: '../keys' }, 422],
    ['POST', '/apps', { name: ['shop'] }, 400],
    ['POST', '/apps', { name: 'other', admin: true }, 400],
    ['GET', '/apps/..%2fkeys/env', undefined, 404],
    ['GET', '/apps/shop/deployments/1e9/logs', undefined, 404],
    ['GET', '/apps/shop/deployments/-1/logs', undefined, 400],
    ['PATCH', '/apps/shop/env', { env: { PORT: 0 } }, 400],
    ['PATCH', '/apps/shop/env', { env: { CC_DOCKERFILE: '../../etc/passwd' } }, 422],
    ['PATCH', '/apps/shop/env', { env: { PORT: '80;x' } }, 422],
    ['PATCH', '/apps/shop/env', { env: { X: 'a\0b' } }, 422],
  ])('API: %s %s %j', async (method, path, body, status) => {
    const answer = await rig.api(method, path, body);
    expect(answer.status).toBe(status);
    expectOneLine(answer.body);
    expect((await rig.api('GET', '/apps/shop/env')).body).toBe('{"env":{}}');
    expect((await rig.api('GET', '/apps')).body.match(/"name"/g)).toHaveLength(1);
  });
});

describe('credentials', () => {
  test.each([
    ['none', undefined],
    ['a wrong token', `Basic ${Buffer.from('ana:gantry_wrong').toString('base64')}`],
    ['no password', `Basic ${Buffer.from('ana:').toString('base64')}`],
    ['no colon', 'Basic YQ=='],
    ['not base64', 'Basic ????'],
    ['another scheme', 'Digest username="ana"'],
    ['only the scheme', 'Basic'],
    ['a prototype', '__proto__'],
    ['12 KB', `Basic ${'x'.repeat(12_000)}`],
  ])('%s: refused on every git request, the direct POST included', async (_name, value) => {
    // From somewhere else: who is wrong too often waits, and the other tests come from here.
    const from = { 'x-forwarded-for': '192.0.2.1' };
    const headers = { ...from, ...(value !== undefined && { authorization: value }) };
    const before = await deploys('shop');
    for (const service of ['receive-pack', 'upload-pack'] as const) {
      const type = { 'content-type': `application/x-git-${service}-request` };
      const answers = [
        await ask(`/shop.git/info/refs?service=git-${service}`, { headers }),
        await ask(`/shop.git/git-${service}`, {
          method: 'POST',
          headers: { ...headers, ...type },
          body: pushBody('refs/heads/main'),
        }),
      ];
      for (const { status, body } of answers) {
        expect(status).toBe(401);
        expect(body).toMatch(/^(a token is needed|the token is wrong or was revoked)\nhint: .*\n$/);
      }
    }
    expect(await deploys('shop')).toBe(before);
  });

  test('a header of 64 KB is refused before it is looked at', async () => {
    const headers = { authorization: `Basic ${'x'.repeat(65_536)}` };
    expect((await ask('/shop.git/info/refs?service=git-upload-pack', { headers })).status).toBe(431);
  });

  test('the client with a wrong token fails at once and never asks', async () => {
    const url = `http://ana:wrong@127.0.0.1:${rig.port}/shop.git`;
    for (const result of [await repo.push(url), await repo.git('ls-remote', url)]) {
      expect(result.code).toBe(128);
      expect(result.stderr).toMatch(/Authentication failed/);
    }
  });

  test('a token for one app reads and pushes that one only, and learns of no other', async () => {
    const token = await rig.createToken('ci', ['deploy:lonely']);
    const url = (app: string): string => `http://ci:${token}@127.0.0.1:${rig.port}/${app}.git`;
    for (const app of ['shop', 'never-made']) {
      const push = await repo.push(url(app));
      expect(push.code).toBe(128);
      expect(remoteLines(push.stderr)).toEqual([`app "${app}" not found or not yours`]);
      const direct = await ask(`/${app}.git/git-receive-pack`, {
        method: 'POST',
        headers: {
          ...(await authorization(token)),
          'content-type': 'application/x-git-receive-pack-request',
        },
        body: pushBody('refs/heads/main'),
      });
      expect(direct).toEqual({ status: 404, body: `app "${app}" not found or not yours\n` });
    }
    const own = await repo.push(url('lonely'));
    expect(own.stderr).toMatch(/success: lonely v1 is live/);
    const reader = await rig.createToken('reader', ['read:lonely']);
    const refused = await repo.push(`http://r:${reader}@127.0.0.1:${rig.port}/lonely.git`, 'main:redeploy');
    expect(refused.code).toBe(128);
    expect(refused.stderr).toContain('403');
    expect(await deploys('lonely')).toBe(1);
  });
});

describe('bodies', () => {
  const gzip = { 'content-encoding': 'gzip' };
  test.each([
    ['not gzip', 'this is not gzip', gzip, 400, /^the request body cannot be unpacked$/],
    ['gzip, cut off', gzipSync(Buffer.alloc(500, 7)).subarray(0, 14), gzip, 400, /cannot be unpacked$/],
    ['brotli', '0000', { 'content-encoding': 'br' }, 415, /must be gzip or none$/],
    ['a form', 'a=b', { 'content-type': 'application/x-www-form-urlencoded' }, 415, /content type must be/],
    ['no packets', 'this is not git', {}, 500, /^git failed on the server; its log says why$/],
    ['nothing', '', {}, 400, /^the request is empty$/],
  ] as const)('%s', async (_name, body, headers, status, text) => {
    const answer = await post('receive-pack', body, headers);
    expect(answer.status).toBe(status);
    expect(answer.body.trim()).toMatch(text);
    expectOneLine(answer.body);
    expect(await deploys('shop')).toBe(1);
  });

  test('the probe of four bytes before a large push is no push', async () => {
    expect(await post('receive-pack', '0000')).toEqual({ status: 200, body: '' });
    expect(await deploys('shop')).toBe(1);
  });

  test('a pack that ends early: refused inside the protocol', async () => {
    const answer = await post('receive-pack', pushBody('refs/heads/main').subarray(0, -40));
    expect(answer.status).toBe(200);
    expect(answer.body).toMatch(/unpack [^o]/);
    expect(await deploys('shop')).toBe(1);
  });

  test('a connection that is cut in the middle of a pack', async () => {
    const head = [
      'POST /shop.git/git-receive-pack HTTP/1.1',
      'Host: x',
      `Authorization: ${(await authorization()).authorization}`,
      'Content-Type: application/x-git-receive-pack-request',
      `Content-Length: ${pushBody().length}`,
    ];
    for (const bytes of [0, 100, 250]) {
      const socket = connect(rig.port, '127.0.0.1');
      await new Promise((resolve) => {
        socket.write(`${head.join('\r\n')}\r\n\r\n`);
        socket.write(pushBody().subarray(0, bytes), resolve);
      });
      socket.destroy();
    }
    expect(await deploys('shop')).toBe(1);
  });
});

describe('refs', () => {
  const branches = (): string[] => [
    '-x',
    '--force',
    '--upload-pack=x',
    '$(id)',
    '`id`',
    'a;b',
    "a'b",
    'a|b&c',
    `$(touch\${IFS}${marker()})`,
    'x\u202ey',
    'refs/heads/main',
    'HEAD',
    'n'.repeat(200),
  ];

  test('branches that look like options and commands are only names, and never deploy', async () => {
    const before = await deploys('shop');
    for (const branch of branches()) {
      const push = await repo.push(await rig.pushUrl('shop'), `HEAD:refs/heads/${branch}`);
      expect(push.code).toBe(1);
      expect(remoteLines(push.stderr)).toEqual([
        expect.stringMatching(/^error: only "main" deploys; you pushed "/),
        expect.stringMatching(/^hint: git push clever .+:main$/),
      ]);
      expect(push.stderr).toContain('(not the deploy branch)');
      expect(
        push.stderr
          .split('\n')
          .filter((line) => line.startsWith('remote:'))
          .join(),
      ).not.toContain('\u202e');
    }
    expect(await deploys('shop')).toBe(before);
  });

  test('an app is not made by a push that is refused', async () => {
    const url = await rig.pushUrl('unborn');
    for (const ref of ['refs/heads/-x', 'refs/heads/HEAD', 'refs/notes/x', 'refs/gantry/deploys/1']) {
      const push = await repo.push(url, `HEAD:${ref}`);
      expect(push.code).toBe(1);
      expect(push.stderr).toMatch(/\[remote rejected\]/);
    }
    expect((await repo.push(url, 'main', { args: ['-o', '$(id)'] })).stderr).toMatch(
      /unknown push option "\$\(id\)"/,
    );
    expect((await rig.gantry('apps')).stdout).not.toContain('unborn');
  });

  test('a repository without a commit pushes nothing', async () => {
    await using empty = await temporaryRepository();
    await empty.git('checkout', '--quiet', '--orphan', 'main2');
    await empty.git('branch', '-D', 'main');
    const push = await empty.push(await rig.pushUrl('nothing'), [], { args: ['--all'] });
    expect(push.stderr).toMatch(/No refs in common/);
    expect((await rig.gantry('apps')).stdout).not.toContain('nothing');
  });
});

describe('repositories', () => {
  const web = 'FROM gantry-test/base:1\nCMD ["httpd","-f","-p","8080","-h","/www"]\n';
  const cases: [string, TestFiles, RegExp][] = [
    ['no file at all', { version: undefined, Dockerfile: undefined }, /no Dockerfile/],
    [
      'a Dockerfile that is a link out of it',
      { Dockerfile: { linkTo: '/etc/passwd' } },
      /must be inside the repository/,
    ],
    [
      'a Dockerfile that is a link to our keys',
      { Dockerfile: { linkTo: '../../../keys' } },
      /must be inside the repository|leads nowhere/,
    ],
    ['a Dockerfile that is a folder', { Dockerfile: undefined, 'Dockerfile/x': 'y' }, /is not a file/],
    [
      'a Dockerfile that links to itself',
      { Dockerfile: { linkTo: 'Dockerfile' } },
      /Dockerfile is a link that leads nowhere/,
    ],
    ['an empty Dockerfile', { Dockerfile: '' }, /[Dd]ockerfile.*empty|empty/],
    ['garbage for a Dockerfile', { Dockerfile: '\x1b[2Jgarbage \x07\n' }, /unknown instruction/],
    [
      'a frontend of its own',
      { Dockerfile: `# syntax=127.0.0.1:1/evil/frontend:1\n${web}` },
      /first line "# syntax=127\.0\.0\.1:1\/evil\/frontend:1" makes BuildKit pull an image, which failed: remove that line/,
    ],
    [
      'a command that needs more rights',
      { Dockerfile: `${web}RUN --security=insecure id\n` },
      /Unknown flag: security|insecure/,
    ],
  ];

  test.each(cases)(
    '%s: failed with the reason, and nothing of ours is shown',
    async (_name, files, reason) => {
      await using odd = await appRepository('page', files);
      const url = await rig.pushUrl('odd');
      const push = await odd.push(url, 'HEAD:main', { args: ['--force'] });
      expect(push.code).toBe(1);
      const [failure, ...causes] = remoteLines(push.stderr).flatMap((line, index, all) =>
        line.startsWith('error: ') ? [line, ...all.slice(index + 1)] : [],
      );
      expect(failure).toMatch(/^error: deploy #\d+ failed in "(build|checkout)"/);
      expect(causes.join('\n')).toMatch(reason);
      expect(push.stderr).toMatch(/! \[remote rejected\] HEAD -> main \(deploy #\d+ failed in .+\)/);
      expect(push.stderr).not.toContain('root:x:0:0');
      expect(push.stderr).not.toContain(rig.dataDir);
      expect(push.stderr.includes('\x1b[2J') || push.stderr.includes('\x07')).toBe(false);
    },
  );

  test('escape sequences and HTML in a subject, an author and a tag are text', async () => {
    const subject = '\x1b]0;owned\x07\x1b[2J\u202e<script>alert(1)</script>';
    await using odd = await appRepository('page');
    await odd.git('config', 'user.name', 'x');
    await odd.commit({ version: 'two' }, subject);
    await odd.git('tag', '-a', 'v1', '-m', subject);
    const push = await odd.push(await rig.pushUrl('odd'), ['HEAD:main', 'v1'], { args: ['--force'] });
    expect(push.stderr).toMatch(/success: odd v\d+ is live/);
    expect(push.code).toBe(0);
    const log = await rig.gantry('logs', '--app', 'odd');
    const list = await rig.gantry('deploys', '--app', 'odd');
    expect(log.stdout).toContain('\\u001b]0;owned\\u0007');
    for (const text of [push.stderr, log.stdout, list.stdout, await rig.log()]) {
      for (const control of ['\x1b', '\x07', '\u202e']) expect(text.includes(control)).toBe(false);
    }
  });
});

test('after all of that nothing is left behind, and the next push works', async () => {
  await expectNothingLeftBehind(rig);
  expect((await rig.gantry('apps')).stdout.match(/^[a-z]\S*/gm)).toEqual(['lonely', 'odd', 'shop']);
  await repo.commit({ version: 'two' }, 'Two');
  expect((await repo.push(await rig.pushUrl('shop'))).stderr).toMatch(/success: shop v2 is live/);
  expect((await rig.request('shop')).body).toBe('two');
  const clone = await gitClient().run(['ls-remote', await rig.pushUrl('shop'), 'main']);
  commit = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
  expect(clone.stdout).toContain(commit);
  await repo.commit({ version: 'one' }, 'One');
  await repo.push(await rig.pushUrl('shop'));
  commit = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
});
