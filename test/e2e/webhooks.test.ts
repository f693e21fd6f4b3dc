import { createHmac, randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { page } from '../support/dockerfiles.ts';
import { type Forge, forgeLogin, startForge, startRigOf, startSshd } from '../support/forge.ts';
import { gitClient, temporaryRepository } from '../support/git.ts';
import { Rig, until } from '../support/rig.ts';

let forge: Forge;
let rig: Rig;
beforeAll(async () => {
  forge = await startForge();
  rig = await startRigOf(forge);
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
  await forge[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

type Answer = {
  status: number;
  body: { state: string; reason?: string; number?: number; delivery?: string };
};

/** An app linked to a repository of its own on the forge, and somebody who pushes there. */
async function linked(app: string, options: { provider?: string; branch?: string } = {}) {
  const { provider = 'github', branch = 'main' } = options;
  const { path, commit } = await forge.add(`${app}.git`, { Dockerfile: page(), version: 'one' });
  const url = `${forge.url}/${app}.git`;
  const to = ['--provider', provider, '--repo', url, '--branch', branch];
  const made = await rig.gantry('webhooks', 'link', app, ...to, '--json');
  const { secret } = JSON.parse(made.stdout) as { secret: string };
  const work = await temporaryRepository();
  await work.git('fetch', '--quiet', path, 'main');
  await work.git('reset', '--quiet', '--hard', 'FETCH_HEAD');
  const push = async (version: string, message = `Version ${version}`): Promise<string> => {
    await work.commit({ version }, message);
    const pushed = await work.git('push', '--quiet', '--force', path, 'HEAD:main');
    if (pushed.code !== 0) throw new Error(pushed.stderr);
    return (await work.git('rev-parse', 'HEAD')).stdout.trim();
  };
  return { app, first: commit, secret, url, work, path, push };
}

function payload(
  url: string,
  before: string,
  after: string,
  message = 'A change',
  ref = 'refs/heads/main',
): string {
  const head = { id: after, message };
  return JSON.stringify({
    ref,
    before,
    after,
    head_commit: head,
    commits: [head],
    repository: { clone_url: url },
  });
}

async function send(
  app: string,
  provider: string,
  body: string,
  headers: Record<string, string>,
): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${rig.port}/webhooks/${app}/${provider}`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', ...headers },
  });
  return { status: response.status, body: (await response.json()) as Answer['body'] };
}

function github(
  secret: string,
  body: string,
  id: string = randomUUID(),
  event = 'push',
): Record<string, string> {
  const signature = createHmac('sha256', secret).update(body).digest('hex');
  return { 'x-github-event': event, 'x-github-delivery': id, 'x-hub-signature-256': `sha256=${signature}` };
}

async function deliver(secret: string, app: string, body: string, id?: string): Promise<Answer> {
  return send(app, 'github', body, github(secret, body, id));
}

type Deployment = {
  number: number;
  state: string;
  trigger: string;
  commit: string;
  by: string;
  subject: string;
};

async function deployments(app: string): Promise<Deployment[]> {
  const { body } = await rig.api('GET', `/apps/${app}/deployments`);
  return (JSON.parse(body) as { deployments: Deployment[] }).deployments;
}

async function isLive(app: string, number: number | undefined): Promise<void> {
  await until(`#${number} of ${app} is live`, async () =>
    (await deployments(app)).some((one) => one.number === number && one.state === 'live'),
  );
}

const zeros = '0'.repeat(40);

describe('a push elsewhere', () => {
  test('is fetched, deployed, and the branch here follows; git push goes on from there', async () => {
    const shop = await linked('shop');
    const one = await deliver(shop.secret, 'shop', payload(shop.url, zeros, shop.first));
    expect(one).toMatchObject({ status: 202, body: { state: 'deploying', number: 1 } });
    await isLive('shop', 1);
    expect((await rig.request('shop')).body).toBe('one');

    const second = await shop.push('two', 'Sell more');
    const two = await deliver(shop.secret, 'shop', payload(shop.url, shop.first, second));
    expect(two).toMatchObject({ status: 202, body: { number: 2 } });
    await isLive('shop', 2);
    expect((await rig.request('shop')).body).toBe('two');
    expect(await deployments('shop')).toMatchObject([
      { number: 2, trigger: 'webhook', commit: second, by: 'github', subject: 'Sell more' },
      { number: 1 },
    ]);
    const log = await rig.gantry('logs', '--app', 'shop', '--deploy', '2');
    expect(log.stdout).toMatch(/Deploy #2 of shop: [0-9a-f]{7} "Sell more", by webhook/);

    const url = await rig.pushUrl('shop');
    await until('the branch has moved', async () =>
      (await gitClient().run(['ls-remote', url, 'main'])).stdout.startsWith(second),
    );
    await shop.work.commit({ version: 'three' }, 'Pushed here');
    expect(await shop.work.push(url)).toMatchObject({ code: 0 });
    expect((await rig.request('shop')).body).toBe('three');
  });

  test('the same delivery 100 times at once is one deployment', async () => {
    const flood = await linked('flood');
    const body = payload(flood.url, zeros, flood.first);
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => deliver(flood.secret, 'flood', body, 'the-same')),
    );
    const taken = answers.filter(({ status }) => status === 202);
    expect(taken).toHaveLength(1);
    expect(answers.filter(({ body: { reason } }) => reason === 'this delivery came before')).toHaveLength(99);
    await isLive('flood', 1);
    expect(await deliver(flood.secret, 'flood', body, 'the-same')).toMatchObject({
      status: 200,
      body: { state: 'ignored', number: 1 },
    });
    expect(await deliver(flood.secret, 'flood', body, 'another')).toMatchObject({
      status: 200,
      body: { state: 'ignored', reason: expect.stringMatching(/is live already/) as string },
    });
    expect(await deployments('flood')).toHaveLength(1);
  });

  test('an older delivery that comes late does not replace a newer commit; one moved back on purpose does', async () => {
    const late = await linked('late');
    const second = await late.push('two');
    const third = await late.push('three');
    const newest = await deliver(late.secret, 'late', payload(late.url, second, third));
    await isLive('late', newest.body.number);
    expect(await deliver(late.secret, 'late', payload(late.url, late.first, second))).toMatchObject({
      status: 200,
      body: { state: 'ignored', reason: expect.stringMatching(/which is newer, came before it/) as string },
    });
    expect((await rig.request('late')).body).toBe('three');

    const back = await deliver(late.secret, 'late', payload(late.url, third, late.first));
    expect(back).toMatchObject({ status: 202 });
    await isLive('late', back.body.number);
    expect((await rig.request('late')).body).toBe('one');
  });

  test('is not deployed when it is about something else or says so; a ping is answered', async () => {
    const quiet = await linked('quiet');
    const says = async (body: string): Promise<string | undefined> => {
      const answer = await deliver(quiet.secret, 'quiet', body);
      expect(answer.status).toBe(200);
      return answer.body.reason;
    };
    const { first, url } = quiet;
    expect(await says(payload(url, zeros, first, 'x', 'refs/heads/dev'))).toMatch(/only main is deployed/);
    expect(await says(payload(url, zeros, first, 'x', 'refs/tags/v1'))).toMatch(/no branch/);
    expect(await says(payload(url, first, zeros))).toMatch(/was deleted/);
    expect(await says(payload('https://forge.example/other.git', zeros, first))).toMatch(
      /not about the linked/,
    );
    expect(await says(payload(url, zeros, first, 'Typo [skip deploy]'))).toMatch(/\[skip deploy\]/);
    const ping = '{"zen":"Keep it simple."}';
    expect(await send('quiet', 'github', ping, github(quiet.secret, ping, 'p', 'ping'))).toMatchObject({
      status: 200,
      body: { state: 'connected' },
    });
    expect(await deployments('quiet')).toEqual([]);

    const list = await rig.gantry('webhooks', 'deliveries', '--app', 'quiet');
    expect(list.stdout).toMatch(/^p .* connected$/m);
    const skipped = /^(\S+) .*the commit says/m.exec(list.stdout)?.[1] ?? '';
    const again = await rig.gantry('webhooks', 'redeliver', skipped, '--app', 'quiet');
    expect(again.stdout).toMatch(/deploying as deploy #1/);
    await isLive('quiet', 1);
  });

  test('of a private repository, with a login in the URL that nobody is shown', async () => {
    await linked('private');
    const { user, password } = forgeLogin;
    const url = `https://${user}:${password}@127.0.0.1:${forge.port}/private/private.git`;
    const link = await rig.gantry(
      'webhooks',
      'link',
      'private',
      '--provider',
      'generic',
      '--repo',
      url,
      '--json',
    );
    expect(link.stdout).not.toContain(password);
    const { secret } = JSON.parse(link.stdout) as { secret: string };
    const { stdout } = await gitClient().run(['ls-remote', await forgePath('private'), 'main']);
    const commit = stdout.slice(0, 40);
    const body = JSON.stringify({ ref: 'refs/heads/main', after: commit });
    const at = new Date();
    const headers = { 'webhook-id': 'one', 'webhook-timestamp': String(Math.floor(at.getTime() / 1000)) };
    const signature = new Webhook(secret).sign('one', at, body);
    const answer = await send('private', 'generic', body, { ...headers, 'webhook-signature': signature });
    expect(answer).toMatchObject({ status: 202 });
    await isLive('private', answer.body.number);
    expect((await rig.gantry('webhooks', 'show', '--app', 'private')).stdout).not.toContain(password);
    const told =
      (await rig.log()) + (await rig.gantry('audit')).stdout + (await rig.api('GET', '/apps')).body;
    for (const word of [password, secret]) expect(told).not.toContain(word);
  });

  test('over ssh with a key', async () => {
    await using sshd = await startSshd();
    const { url, commit } = await sshd.add('keyed', { Dockerfile: page(), version: 'by ssh' });
    const [key, strange] = [join(rig.dataDir, 'key'), join(rig.dataDir, 'strange')];
    await writeFile(key, sshd.key);
    await writeFile(strange, sshd.strangersKey);
    const link = ['webhooks', 'link', 'keyed', '--provider', 'generic', '--repo', url, '--json'];
    expect((await rig.gantry(...link)).stderr).toMatch(/an ssh URL needs a key/);
    const bearer = async (file: string): Promise<Record<string, string>> => {
      const { stdout } = await rig.gantry(...link, '--key', file);
      return { authorization: `Bearer ${(JSON.parse(stdout) as { secret: string }).secret}` };
    };
    const body = JSON.stringify({ ref: 'refs/heads/main', after: commit });
    expect(await send('keyed', 'generic', body, await bearer(strange))).toMatchObject({
      status: 200,
      body: { state: 'failed', reason: expect.stringMatching(/does not take the key/) as string },
    });
    // It failed, so it may come again.
    const answer = await send('keyed', 'generic', body, await bearer(key));
    expect(answer).toMatchObject({ status: 202, body: { state: 'deploying' } });
    await isLive('keyed', answer.body.number);
  });

  test('a commit that is not there fails, is listed, and leaves nothing', async () => {
    const missing = await linked('missing');
    const answer = await deliver(missing.secret, 'missing', payload(missing.url, zeros, '1'.repeat(40)));
    expect(answer).toMatchObject({
      body: {
        state: 'failed',
        reason: expect.stringMatching(/not fetched: it has no commit 1111111/) as string,
      },
    });
    const list = await rig.gantry('webhooks', 'deliveries', '--app', 'missing');
    expect(list.stdout).toMatch(/1111111 +failed not fetched/);
    expect(await deployments('missing')).toEqual([]);
  });

  test('what was being fetched when the server died is deployed after its start', async () => {
    const sudden = await linked('sudden');
    const release = forge.hold();
    const body = payload(sudden.url, zeros, sudden.first);
    const asked = deliver(sudden.secret, 'sudden', body, 'sudden-1').catch(() => 'cut off');
    await until('it is being fetched', async () =>
      (await rig.gantry('webhooks', 'deliveries', '--app', 'sudden')).stdout.includes('fetching'),
    );
    await rig.crash();
    expect(await asked).toBe('cut off');
    release();
    await rig.start();
    await isLive('sudden', 1);
    const list = await rig.gantry('webhooks', 'deliveries', '--app', 'sudden');
    expect(list.stdout).toMatch(/sudden-1 .*deploying as #1/);
  });
});

describe('what is wrong is refused', () => {
  test('unsigned, signed wrongly, too large, for another provider, for no app', async () => {
    const safe = await linked('safe');
    const body = payload(safe.url, zeros, safe.first);
    const { 'x-hub-signature-256': _, ...unsigned } = github(safe.secret, body);
    expect(await send('safe', 'github', body, unsigned)).toMatchObject({
      status: 401,
      body: { state: 'refused', reason: 'it is not signed' },
    });
    expect(await send('safe', 'github', body, github('other', body))).toMatchObject({ status: 401 });
    expect(await send('safe', 'github', `${body} `, github(safe.secret, body))).toMatchObject({
      status: 401,
    });
    expect(await send('safe', 'github', '', github(safe.secret, ''))).toMatchObject({ status: 400 });
    expect(await send('safe', 'github', '{"a":1}', github(safe.secret, '{"a":1}'))).toMatchObject({
      status: 400,
    });
    expect(await send('safe', 'gitlab', body, { 'x-gitlab-token': safe.secret })).toMatchObject({
      status: 404,
    });
    expect(await send('safe', 'nobody', body, {})).toMatchObject({ status: 404 });
    expect(await send('nobody', 'github', body, github(safe.secret, body))).toMatchObject({ status: 404 });
    expect(await statusOfLarge('safe', 26 * 1024 ** 2)).toBe(413);
    expect(await deployments('safe')).toEqual([]);
    const list = await rig.gantry('webhooks', 'deliveries', '--app', 'safe');
    expect(list.stdout.match(/refused/g)).toHaveLength(2);
  });

  test('a secret that was replaced is good for another day; that of an app no more linked is not', async () => {
    const turn = await linked('turn');
    const body = payload(turn.url, zeros, turn.first, 'x', 'refs/heads/dev');
    const made = (await rig.gantry('webhooks', 'rotate', '--app', 'turn')).stdout.trim();
    expect(made).toMatch(/^whsec_/);
    expect(await deliver(made, 'turn', body)).toMatchObject({ status: 200 });
    expect(await deliver(turn.secret, 'turn', body)).toMatchObject({ status: 200 });
    const third = (await rig.gantry('webhooks', 'rotate', '--app', 'turn')).stdout.trim();
    expect(await deliver(turn.secret, 'turn', body)).toMatchObject({ status: 401 });
    await rig.gantry('webhooks', 'unlink', '--app', 'turn');
    expect(await deliver(third, 'turn', body)).toMatchObject({ status: 404 });
  });

  test.each([
    ['file:///etc', /only https and ssh/],
    ['http://forge.example/a', /only https and ssh/],
    ['-u./x', /only https and ssh/],
  ])('a repository such as %s', async (url, reason) => {
    const link = await rig.gantry('webhooks', 'link', 'wrong', '--provider', 'github', `--repo=${url}`);
    expect(link.code).not.toBe(0);
    expect(link.stderr).toMatch(reason);
  });
});

/** As curl sends what is large: it says how much will come, and waits to be told to go on. */
async function statusOfLarge(app: string, bytes: number): Promise<number | undefined> {
  const headers = { 'content-length': bytes, expect: '100-continue', 'content-type': 'application/json' };
  const path = `/webhooks/${app}/github`;
  const large = request({ host: '127.0.0.1', port: rig.port, path, method: 'POST', headers });
  const answered = new Promise<number | undefined>((resolve, reject) => {
    large.on('response', ({ statusCode }) => resolve(statusCode)).on('error', reject);
  });
  large.on('continue', () => large.write('{}')).flushHeaders();
  const status = await answered;
  large.destroy();
  return status;
}

async function forgePath(app: string): Promise<string> {
  return (await forge.add(`${app}-copy.git`, {})).path.replace('-copy.git', '.git');
}
