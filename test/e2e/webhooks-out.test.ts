import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { type Received, startReceiver } from '../support/receiver.ts';
import { appRepository, Rig, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({
    GANTRY_HEALTH_TIMEOUT: '20',
    GANTRY_ALLOW_INTERNAL_ADDRESSES: '127.0.0.0/8',
    GANTRY_WEBHOOK_RETRIES: '0.2,0.2,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1',
    GANTRY_WEBHOOK_TIMEOUT: '2',
  });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

type Event = { type: string; timestamp: string; data: Record<string, unknown> };
type Notice = { id: string; type: string; state: string; attempts: number; verdict: string | null };

const eventOf = ({ body }: Received): Event => JSON.parse(body) as Event;
const idOf = ({ headers }: Received): string => String(headers['webhook-id']);

/** An app, and one webhook of it. */
async function listened(app: string, url: string, ...options: string[]) {
  await rig.api('POST', '/apps', { name: app });
  const made = await rig.gantry('webhooks', 'out', 'add', url, '--app', app, ...options, '--json');
  expect(made.stderr).toBe('');
  return JSON.parse(made.stdout) as { id: string; secret: string; url: string };
}

async function notices(app: string, id: string): Promise<Notice[]> {
  return JSON.parse(
    (await rig.gantry('webhooks', 'out', 'deliveries', id, '--app', app, '--json')).stdout,
  ) as Notice[];
}

/** A failed deployment is as good as any, and quick. */
async function failToDeploy(app: string): Promise<void> {
  await using repo = await appRepository('page', { Dockerfile: 'no instruction\n' });
  expect(await repo.push(await rig.pushUrl(app))).toMatchObject({ code: 1 });
}

describe('events of deployments', () => {
  test('are sent signed, thin and once each, and a new secret signs beside the old one', async () => {
    await using receiver = await startReceiver();
    const { id, secret } = await listened('shop', `${receiver.url}/hook`);
    await rig.setEnv('shop', { SECRET_WORD: 'canary-of-the-env' });
    await using repo = await appRepository('page');
    expect(await repo.push(await rig.pushUrl('shop'))).toMatchObject({ code: 0 });
    await until('three events came', () => receiver.received.length === 3);
    const verified = receiver.received.map(
      ({ body, headers }) => new Webhook(secret).verify(body, headers as Record<string, string>) as Event,
    );
    const byType = verified.sort((a, b) => (a.type < b.type ? -1 : 1));
    const commit = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
    const facts = {
      app: 'shop',
      number: 1,
      commit,
      trigger: 'push',
      url: `http://shop.localhost:${rig.httpPort}`,
    };
    expect(byType).toMatchObject([
      { type: 'deploy.queued', data: { ...facts, state: 'queued' } },
      { type: 'deploy.started', data: { ...facts, state: 'running' } },
      { type: 'deploy.succeeded', data: { ...facts, state: 'live', step: null, reason: null } },
    ]);
    const all = JSON.stringify(receiver.received);
    for (const word of ['canary-of-the-env', 'SECRET_WORD', await rig.token, secret])
      expect(all).not.toContain(word);
    expect(receiver.received[0]?.headers).toMatchObject({
      'content-type': 'application/json',
      'user-agent': expect.stringMatching(/^Gantry\/\d/) as string,
    });
    expect(new Set(receiver.received.map(idOf)).size).toBe(3);

    const next = (await rig.gantry('webhooks', 'out', 'rotate', id, '--app', 'shop')).stdout.trim();
    receiver.received.length = 0;
    expect((await rig.gantry('webhooks', 'test', '--app', 'shop')).stdout).toMatch(/delivered: answered 204/);
    const [tried] = receiver.received;
    expect(eventOf(tried as Received)).toMatchObject({
      type: 'webhook.test',
      data: { app: 'shop', number: null },
    });
    expect(String(tried?.headers['webhook-signature']).split(' ')).toHaveLength(2);
    for (const key of [secret, next])
      new Webhook(key).verify(tried?.body ?? '', tried?.headers as Record<string, string>);
    expect(() =>
      new Webhook(secret).verify(`${tried?.body} `, tried?.headers as Record<string, string>),
    ).toThrow('No matching signature found');
    const told = (await rig.log()) + (await rig.gantry('audit')).stdout;
    for (const word of [secret, next]) expect(told).not.toContain(word);
  });

  test('go to the webhooks that want them, of the app and of all apps', async () => {
    await using receiver = await startReceiver();
    await listened('picky', `${receiver.url}/failures`, '--events', 'deploy.failed');
    await listened('other', `${receiver.url}/other`);
    const all = await rig.gantry('webhooks', 'out', 'add', `${receiver.url}/all`, '--all-apps', '--json');
    const { id } = JSON.parse(all.stdout) as { id: string };
    await failToDeploy('picky');
    await until('all came', () => receiver.received.length === 4);
    const seen = receiver.received.map((one) => `${one.path} ${eventOf(one).type}`);
    expect(seen.sort()).toEqual([
      '/all deploy.failed',
      '/all deploy.queued',
      '/all deploy.started',
      '/failures deploy.failed',
    ]);
    const failed = receiver.received.find(({ path }) => path === '/failures');
    expect(eventOf(failed as Received).data).toMatchObject({
      step: 'build',
      reason: expect.stringMatching(/^failed in build: /) as string,
    });
    await rig.gantry('webhooks', 'out', 'remove', id, '--all-apps');
    expect((await rig.gantry('webhooks', 'out', '--all-apps', '--json')).stdout.trim()).toBe('[]');
    const mine = await rig.createToken('dev', ['deploy:picky']);
    const refused = await fetch(`http://127.0.0.1:${rig.port}/api/v1/webhooks/out`, {
      headers: { authorization: `Bearer ${mine}` },
    });
    expect(refused.status).toBe(403);
  });

  test('are tried again until they are taken, with one id, and can be sent again', async () => {
    await using receiver = await startReceiver();
    const { id } = await listened('stubborn', receiver.url, '--events', 'deploy.failed');
    receiver.answerWith((_, res) => {
      // A redirect is not followed: to whom would it lead?
      const status = [500, 302, 503][receiver.received.length - 1] ?? 200;
      res.writeHead(status, { location: `${receiver.url}/elsewhere` }).end();
    });
    await failToDeploy('stubborn');
    await until('it was taken', async () => (await notices('stubborn', id))[0]?.state === 'delivered');
    expect(receiver.received.map(({ path }) => path)).toEqual(['/', '/', '/', '/']);
    expect(new Set(receiver.received.map(idOf)).size).toBe(1);
    expect(new Set(receiver.received.map(({ body }) => body)).size).toBe(1);
    const [notice] = await notices('stubborn', id);
    expect(notice).toMatchObject({ attempts: 4, verdict: 'answered 200', type: 'deploy.failed' });

    await rig.gantry('webhooks', 'out', 'redeliver', id, notice?.id ?? '', '--app', 'stubborn');
    await until('it came again', () => receiver.received.length === 5);
    expect(new Set(receiver.received.map(idOf)).size).toBe(1);
  });

  test('stop when the receiver is gone for good, until it is enabled again', async () => {
    await using receiver = await startReceiver();
    const { id } = await listened('gone', receiver.url, '--events', 'deploy.failed');
    receiver.answerWith(410);
    await failToDeploy('gone');
    await until('it is disabled', async () =>
      (await rig.gantry('webhooks', 'out', '--app', 'gone')).stdout.includes('disabled: answered 410'),
    );
    await failToDeploy('gone');
    await rig.gantry('webhooks', 'out', 'enable', id, '--app', 'gone');
    receiver.answerWith(200);
    await failToDeploy('gone');
    await until('the third came', () => receiver.received.length === 2);
    expect(receiver.received.map((one) => eventOf(one).data.number)).toEqual([1, 3]);
  });

  test('do not wait for a receiver that says nothing; what is internal is not sent to', async () => {
    await using receiver = await startReceiver();
    receiver.answerWith(() => {});
    await listened('silent', receiver.url);
    const tested = await rig.gantry('webhooks', 'test', '--app', 'silent');
    expect(tested.stdout).toMatch(/failed: no answer within 2 s/);
    expect(tested.code).toBe(1);

    const add = (url: string) => rig.gantry('webhooks', 'out', 'add', url, '--app', 'silent');
    for (const url of ['http://169.254.169.254/latest', 'http://[::1]/', 'http://0x0a000001/'])
      expect((await add(url)).stderr).toMatch(/an address of an internal network/);
    expect((await add('http://ana:word@127.0.0.1/')).stderr).toMatch(/a login in the URL/);
    expect((await add('ftp://127.0.0.1/')).stderr).toMatch(/no URL to send to/);
  });

  test('reach chats as text in which nothing is markup or calls anybody', async () => {
    await using receiver = await startReceiver();
    await rig.api('POST', '/apps', { name: 'chatty' });
    for (const format of ['slack', 'mattermost', 'discord']) {
      const url = `${receiver.url}/${format}/T0/secret-path`;
      // From standard input: of a chat's URL the path is the password.
      const made = await rig.gantryWith(
        url,
        'webhooks',
        'out',
        'add',
        '--app',
        'chatty',
        '--format',
        format,
        '--events',
        'deploy.failed',
      );
      expect(made.stdout + made.stderr).not.toContain('secret-path');
    }
    await using repo = await appRepository('page', { Dockerfile: 'no instruction\n' });
    await repo.commit({ version: 'x' }, '<!channel> @all *bold* & <b>');
    expect(await repo.push(await rig.pushUrl('chatty'))).toMatchObject({ code: 1 });
    await until('all three came', () => receiver.received.length === 3);
    const said = (format: string): Record<string, unknown> =>
      JSON.parse(receiver.received.find(({ path }) => path.startsWith(`/${format}`))?.body ?? '{}') as Record<
        string,
        unknown
      >;
    expect(said('slack')).toMatchObject({
      mrkdwn: false,
      text: expect.stringMatching(
        /^chatty: deploy #1 of [0-9a-f]{7} "&lt;!channel&gt; @all \*bold\* &amp; &lt;b&gt;" by admin failed in build: .*\nlog: gantry logs --app chatty --deploy 1$/,
      ) as string,
    });
    expect(said('mattermost').text).toContain('"&lt;\\!channel&gt; @\u200ball \\*bold\\* &amp; &lt;b&gt;"');
    expect(said('discord')).toMatchObject({
      allowed_mentions: { parse: [] },
      content: expect.stringContaining('\\<\\!channel\\> @\u200ball \\*bold\\*') as string,
    });
    expect((await rig.gantry('webhooks', 'out', '--app', 'chatty')).stdout).not.toContain('secret-path');
  });
});

test('a container that ends by itself is told of, and that it is up again', async () => {
  await using receiver = await startReceiver();
  await listened('fragile', receiver.url, '--events', 'app.crashed,app.recovered');
  await using repo = await appRepository('page');
  expect(await repo.push(await rig.pushUrl('fragile'))).toMatchObject({ code: 0 });
  const filters = { label: [`gantry.store=${await rig.storeId}`, 'gantry.app=fragile'] };
  const [container] = await localDocker().listContainers({ filters });
  const { State } = await localDocker()
    .getContainer(container?.Id ?? '')
    .inspect();
  process.kill(State.Pid, 'SIGKILL');
  // A worker looks after each deployment, and now and then.
  await until('the crash is told', async () => {
    await failToDeploy('other');
    return receiver.received.length > 0;
  });
  await until(
    'it is up again',
    async () => {
      await failToDeploy('other');
      return receiver.received.length > 1;
    },
    60_000,
  );
  expect(receiver.received.map(eventOf)).toMatchObject([
    {
      type: 'app.crashed',
      data: {
        number: 1,
        state: 'live',
        reason: expect.stringMatching(/a container of v1 ended by itself/) as string,
      },
    },
    { type: 'app.recovered', data: { number: 1, state: 'live' } },
  ]);
  expect((await rig.request('fragile')).status).toBe(200);
});

describe('no event is lost', () => {
  test('when the server is killed while a receiver is away, nor when Redis is; none gets a second id', async () => {
    await using receiver = await startReceiver();
    const { id } = await listened('lasting', receiver.url);
    receiver.answerWith(503);
    await failToDeploy('lasting');
    await until('each was tried', () => new Set(receiver.received.map(idOf)).size === 3);
    await rig.crash();
    await rig.start();
    process.kill(await rig.redisPid(), 'SIGKILL');
    await until(
      'it goes on',
      async () => (await rig.api('GET', '/status').catch(() => ({ status: 0 }))).status === 200,
    );
    receiver.received.length = 0;
    receiver.answerWith(200);
    await until(
      'all were taken',
      async () => (await notices('lasting', id)).every(({ state }) => state === 'delivered'),
      60_000,
    );
    const taken = await notices('lasting', id);
    expect(taken.map(({ type }) => type).sort()).toEqual([
      'deploy.failed',
      'deploy.queued',
      'deploy.started',
    ]);
    expect(new Set(receiver.received.map(idOf))).toEqual(new Set(taken.map((notice) => notice.id)));
  });
});
