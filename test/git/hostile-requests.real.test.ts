import { connect } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { temporaryRepository } from '../support/git.ts';
import { type GitRig, serverProcesses, startGitRig, until, untilServerIsIdle } from './git-rig.ts';

// The requests that crash, hang or fool node-git-server when it faces the network by itself, and their relatives.
// After each, the server lives, serves the next request and has no git process left.

let rig: GitRig;
let sha: string;
let pack: Buffer;
let count = 0;

const authorization = `Authorization: Basic ${Buffer.from('root:right').toString('base64')}\r\n`;

beforeAll(async () => {
  rig = await startGitRig({ limits: { bodyIdleMs: 1000, terminateAfterMs: 500 } });
  await using repo = await temporaryRepository({ a: '1', b: Buffer.alloc(20_000, 7) });
  await repo.push(rig.url());
  sha = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
  pack = await repo.gitBytes(['pack-objects', '--all', '--stdout', '-q']);
  rig.received.length = 0;
});
afterAll(() => rig[Symbol.asyncDispose]());
afterEach(async () => {
  await until('the next request is served', async () => {
    const next = await rig.request('/shop.git/info/refs?service=git-upload-pack');
    return next.status === 200 && (await next.text()).includes(sha);
  });
  await untilServerIsIdle(rig);
  await until('nothing is left behind', async () => (await rig.quarantines()).length === 0);
});

function packet(text: string): string {
  return (Buffer.byteLength(text) + 4).toString(16).padStart(4, '0') + text;
}

/** A push of a new branch, as git would send it. */
function pushBody(ref = `refs/heads/b${++count}`): Buffer {
  const command = packet(`${'0'.repeat(40)} ${sha} ${ref}\0report-status`);
  return Buffer.concat([Buffer.from(`${command}0000`), pack]);
}

function post(service: string, body: string | Buffer, headers: Record<string, string> = {}, user?: string) {
  return rig.request(`/shop.git/git-${service}`, {
    headers: { 'Content-Type': `application/x-git-${service}-request`, ...headers },
    body,
    ...(user !== undefined && { user }),
  });
}

function head(service: string, ...headers: string[]): string {
  const all = [`Content-Type: application/x-git-${service}-request`, 'Connection: close', ...headers];
  return `POST /shop.git/git-${service} HTTP/1.1\r\nHost: x\r\n${authorization}${all.join('\r\n')}\r\n\r\n`;
}

describe('a request that git never sends', () => {
  it.each(['receive-pack', 'upload-pack'])('POST to %s is authenticated by itself', async (service) => {
    for (const user of ['', 'root:wrong', 'nobody:right']) {
      const answer = await post(service, service === 'receive-pack' ? pushBody() : '0000', {}, user);
      expect(answer.status).toBe(401);
      expect(answer.headers.get('www-authenticate')).toBe('Basic realm="gantry", charset="UTF-8"');
    }
    expect(rig.received).toEqual([]);
  });

  it('POST is authorised by itself', async () => {
    expect((await post('receive-pack', pushBody(), {}, 'reader.shop:right')).status).toBe(403);
    expect((await post('receive-pack', pushBody(), {}, 'deployer.other:right')).status).toBe(404);
    expect((await post('upload-pack', '0000', {}, 'reader.other:right')).status).toBe(404);
    expect(rig.received).toEqual([]);
  });

  it.each(['receive-pack', 'upload-pack'] as const)('POST to %s with nothing in it', async (service) => {
    expect((await post(service, '')).status).toBe(400);
  });

  it('POST to an app that is not there', async () => {
    const answer = await rig.request('/missing.git/git-receive-pack', {
      headers: { 'Content-Type': 'application/x-git-receive-pack-request' },
      body: Buffer.concat([pushBody(), Buffer.alloc(1_500_000)]),
    });
    expect(answer.status).toBe(404);
    expect(await rig.repositories.list()).toEqual(['shop']);
  });

  it.each([
    'Basic',
    'Basic ',
    'Basic ????',
    'Bearer abc',
    'basic',
    'Basic YQ==',
    `Basic ${'x'.repeat(9000)}`,
    '__proto__',
  ])('Authorization: %s', async (value) => {
    for (const path of [
      '/shop.git/info/refs?service=git-upload-pack',
      '/shop.git/info/refs?service=git-receive-pack',
    ]) {
      expect((await rig.request(path, { user: '', headers: { Authorization: value } })).status).toBe(401);
    }
    expect((await post('receive-pack', pushBody(), { Authorization: value }, '')).status).toBe(401);
  });

  it('a header of 64 KB', async () => {
    const answer = await rig.raw(
      `GET /shop.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Basic ${'x'.repeat(65_536)}\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1.1 431 /);
  });

  it.each([
    ['http://[/x/info/refs', 418],
    ['/../shop.git/info/refs?service=git-upload-pack', 418],
    ['/shop.git/../shop.git/info/refs?service=git-upload-pack', 418],
    ['//shop.git/info/refs?service=git-upload-pack', 418],
    ['/shop.git/HEAD', 418],
    ['/shop.git/config', 418],
    ['/shop.git/info/refs', 418],
    ['/../info/refs?service=git-upload-pack', 404],
    ['/..%2fshop/info/refs?service=git-upload-pack', 404],
    ['/%2e%2e/info/refs?service=git-upload-pack', 404],
    ['/SHOP.git/info/refs?service=git-upload-pack', 404],
    ['/$(id)/info/refs?service=git-receive-pack', 404],
    ['/`id`;x.git/info/refs?service=git-receive-pack', 404],
    ['/%00/info/refs?service=git-receive-pack', 404],
  ])('GET %s', async (target, status) => {
    const answer = await rig.raw(
      `GET ${target} HTTP/1.1\r\nHost: x\r\n${authorization}Connection: close\r\n\r\n`,
    );
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(answer.includes('cannot be an app')).toBe(status === 404);
    expect(await rig.repositories.list()).toEqual(['shop']);
  });

  it.each(['HEAD', 'PUT', 'DELETE', 'OPTIONS', 'POST'])('%s of info/refs', async (method) => {
    const answer = await rig.request('/shop.git/info/refs?service=git-upload-pack', { method });
    expect(answer.status).toBe(405);
  });

  it('another content type', async () => {
    expect((await post('receive-pack', pushBody(), { 'Content-Type': 'text/plain' })).status).toBe(415);
    expect(
      (await post('upload-pack', '0000', { 'Content-Type': 'application/x-git-receive-pack-request' }))
        .status,
    ).toBe(415);
  });
});

describe('a body that is not what it says', () => {
  it.each(['__proto__', 'constructor', 'toString', 'deflate', 'br', 'gzip, gzip', ''])(
    'Content-Encoding: %s',
    async (encoding) => {
      expect((await post('receive-pack', pushBody(), { 'Content-Encoding': encoding })).status).toBe(415);
    },
  );

  it.each([
    ['garbage', Buffer.from('this is not gzip at all')],
    ['cut off', gzipSync(Buffer.alloc(1000, 1)).subarray(0, 15)],
    [
      'with a wrong checksum',
      Buffer.concat([gzipSync(Buffer.from('0000')).subarray(0, -8), Buffer.alloc(8)]),
    ],
  ])('gzip, but %s', async (_name, body) => {
    for (const service of ['receive-pack', 'upload-pack']) {
      expect((await post(service, body, { 'Content-Encoding': 'gzip' })).status).toBe(400);
    }
  });

  it.each(['gzip', 'x-gzip'])('%s as it should be is a push', async (encoding) => {
    const answer = await post('receive-pack', gzipSync(pushBody(`refs/heads/${encoding}`)), {
      'Content-Encoding': encoding,
    });
    expect(await answer.text()).toContain(`ok refs/heads/${encoding}`);
  });

  it.each([
    ['receive-pack', 0],
    ['receive-pack', 10],
    ['receive-pack', 150],
    ['receive-pack', 200],
    ['upload-pack', 0],
    ['upload-pack', 2],
  ])('%s with a truncated connection after %i bytes', async (service, bytes) => {
    const before = rig.received.length;
    const body = service === 'receive-pack' ? pushBody() : Buffer.from(packet(`want ${sha}\n`));
    const socket = connect(rig.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(head(service, `Content-Length: ${body.length + 1000}`));
    socket.write(body.subarray(0, bytes));
    await until('git is running', () => serverProcesses().length > 0);
    socket.destroy();
    await untilServerIsIdle(rig);
    expect(rig.received.length).toBe(before);
  });

  it('a pack that ends early, politely', async () => {
    const answer = await post('receive-pack', pushBody().subarray(0, -100));
    expect(await answer.text()).toMatch(/unpack (index-pack|.*eof|.*EOF|.*error)/i);
  });

  it('a pack that is garbage, and larger than every pipe', async () => {
    const command = packet(`${'0'.repeat(40)} ${sha} refs/heads/garbage\0report-status`);
    const answer = await post(
      'receive-pack',
      Buffer.concat([Buffer.from(`${command}0000`), Buffer.alloc(5_000_000, 1)]),
    );
    expect(answer.status).toBe(200);
    expect(await answer.text()).toContain('unpack ');
    expect(rig.received.some((push) => push.updates.some((update) => update.ref.endsWith('garbage')))).toBe(
      false,
    );
  });

  it.each(['0001', '0002', '0003', 'ffff', 'zzzz', 'garbage without any length', '0000', '00000000'])(
    'the packets %j',
    async (body) => {
      for (const service of ['receive-pack', 'upload-pack']) {
        const before = rig.received.length;
        const answer = await post(service, body);
        await answer.text();
        expect([200, 500]).toContain(answer.status);
        expect(rig.received.length).toBe(before);
      }
    },
  );

  it('a body that stops coming is ended', async () => {
    const answer = await rig.raw(head('receive-pack', 'Content-Length: 1000'), '00');
    expect(answer).toBe('');
  });

  it('bad chunks', async () => {
    const answer = await rig.raw(head('receive-pack', 'Transfer-Encoding: chunked'), '4\r\n0000\r\nzz\r\n');
    expect(answer).toMatch(/^(HTTP\/1.1 400 |$)/);
  });
});

describe('a push that nobody can decide about now', () => {
  const refusal = 'the deploy queue is unavailable\nhint: try again in a minute\n';
  beforeEach(() => {
    rig.script.authenticated = () => {
      throw new UserError('QUEUE_UNAVAILABLE', 'the deploy queue is unavailable', 'try again in a minute');
    };
  });
  afterEach(() => {
    rig.script.authenticated = () => {};
  });

  it('is answered with a report, ref by ref, and packed', async () => {
    const report = `unpack ok\n${packet('ng refs/heads/x the deploy queue is unavailable\n')}0000`;
    const body = pushBody('refs/heads/x');
    expect(await (await post('receive-pack', body)).text()).toBe(`000e${report}`);
    const packed = await post('receive-pack', gzipSync(body), { 'Content-Encoding': 'gzip' });
    expect(await packed.text()).toBe(`000e${report}`);
  });

  it('of thousands of refs is told about each', async () => {
    const refs = Array.from({ length: 3000 }, (_, index) => `refs/heads/one-of-many-${index}`);
    const commands = refs.map((ref) => `${'0'.repeat(40)} ${sha} ${ref}`);
    commands[0] += '\0report-status-v2 side-band-64k';
    const answer = await (await post('receive-pack', `${commands.map(packet).join('')}0000`)).text();
    expect(answer.slice(4, 33)).toBe('\x02hint: try again in a minute\n');
    const bands: string[] = [];
    for (let at = 0; at < answer.length; ) {
      const length = Number.parseInt(answer.slice(at, at + 4), 16);
      bands.push(answer.slice(at + 4, at + length));
      at += length || 4;
    }
    const report = bands.filter((band) => band.startsWith('\x01')).map((band) => band.slice(1));
    expect(report.join('').match(/ng refs\/heads\/one-of-many-\d+ the deploy/g)).toHaveLength(3000);
    expect(report.join('').endsWith('0000')).toBe(true);
    expect(bands.at(-1)).toBe('');
  });

  it.each([
    ['no packets', 'this is not git', {}],
    ['no command', `${packet('delete everything')}0000`, {}],
    ['no end', packet(`${'0'.repeat(40)} ${'1'.repeat(40)} refs/heads/x\0report-status`), {}],
    ['nothing that takes a report', `${packet(`${'0'.repeat(40)} ${'1'.repeat(40)} refs/heads/x`)}0000`, {}],
    ['no gzip', 'this is no gzip', { 'Content-Encoding': 'gzip' }],
    ['an encoding nobody knows', '0000', { 'Content-Encoding': 'br' }],
    ['more commands than anybody has', packet(`${'0'.repeat(40)} ${'1'.repeat(40)} x`).repeat(12_000), {}],
  ])('with %s gets the sentence alone', async (_name, body, headers) => {
    const answer = await post('receive-pack', body, headers);
    expect(answer.status).toBe(503);
    expect(await answer.text()).toBe(refusal);
  });

  it('that stops coming is ended', async () => {
    const answer = await rig.raw(head('receive-pack', 'Content-Length: 1000'), '00');
    expect(answer).toBe('');
  });

  it('that breaks off leaves nothing', async () => {
    const before = rig.received.length;
    const socket = connect(rig.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(head('receive-pack', 'Content-Length: 1000'));
    socket.write('00');
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.destroy();
    expect(rig.received.length).toBe(before);
  });
});

describe('an unusual but right push', () => {
  it('the probe before a large one is no push', async () => {
    const before = rig.received.length;
    const answer = await post('receive-pack', '0000');
    expect(answer.status).toBe(200);
    expect(await answer.text()).toBe('');
    expect(rig.received.length).toBe(before);
  });

  it('with its header in two packets', async () => {
    const body = pushBody('refs/heads/two-packets');
    const answer = await rig.raw(
      head('receive-pack', `Content-Length: ${body.length}`),
      body.subarray(0, 30),
      body.subarray(30),
    );
    expect(answer).toContain('ok refs/heads/two-packets');
  });

  it('with "Expect: 100-continue"', async () => {
    const body = pushBody('refs/heads/expect');
    const answer = await rig.raw(
      head('receive-pack', `Content-Length: ${body.length}`, 'Expect: 100-continue'),
      body,
    );
    expect(answer).toMatch(/^HTTP\/1.1 100 Continue[^]*HTTP\/1.1 200 [^]*ok refs\/heads\/expect/);
  });

  it('with a client that has no side band and a chatty hook', async () => {
    rig.script.receivePush = async ({ updates }, print) => {
      for (let line = 0; line < 5000; line++)
        await print(`line ${line} of a hundred bytes or so, much more than any pipe will hold`);
      return updates.map(({ ref }) => ({ ref, status: 'ok' as const }));
    };
    const answer = await post('receive-pack', pushBody('refs/heads/no-sideband'));
    expect(await answer.text()).toContain('ok refs/heads/no-sideband');
  });

  it('with names that its regular expressions misread', async () => {
    await using repo = await temporaryRepository({ a: '2' });
    const names = ['rel-2003-x', 'a00b', `a${'a'.repeat(200)}`];
    const result = await repo.push(
      rig.url(),
      names.map((name) => `main:refs/heads/${name}`),
    );
    expect(result).toMatchObject({ code: 0 });
    expect(
      rig.received
        .at(-1)
        ?.updates.map((update) => update.ref)
        .toSorted(),
    ).toEqual(names.map((name) => `refs/heads/${name}`).toSorted());
  });

  it('with a body that its regular expressions need seconds for', async () => {
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    await rig.raw(head('receive-pack', 'Content-Length: 65000'), 'a'.repeat(65_000));
    delay.disable();
    expect(delay.max / 1e6).toBeLessThan(700);
  });
});
