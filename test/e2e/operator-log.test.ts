import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { appRepository, freePort, Rig, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({
    GANTRY_HEALTH_TIMEOUT: '20',
    GANTRY_LOG_LEVEL: 'trace',
    GANTRY_ALLOW_INTERNAL_ADDRESSES: '127.0.0.0/8',
  });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

const canary = 'canary-7c2d';

async function records(): Promise<Record<string, unknown>[]> {
  return (await rig.log())
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('no secret that passes through the server is in its log, at any level', async () => {
  const app = 'quiet';
  const base = `http://127.0.0.1:${rig.port}`;
  const secrets: Record<string, string> = { 'token of the administrator': await rig.token };

  await rig.setEnv(app, { SECRET: `${canary}-env`, CC_DOCKER_LOGIN_PASSWORD: `${canary}-registry` });
  await using repo = await appRepository('page');
  await repo.push(await rig.pushUrl(app));
  await rig.gantryWith(`TOKEN=${canary}-imported\n`, 'env', 'import', '--app', app);

  // Wrong ones are secrets as well: people mistype, and mix up places.
  const wrong = new URL(await rig.pushUrl(app));
  wrong.password = `${canary}-wrong-password`;
  wrong.username = `${canary}-user`;
  await repo.push(wrong.href);
  await fetch(`${base}/api/v1/apps?token=${canary}-query`, {
    headers: { authorization: `Bearer ${canary}-bearer` },
  });
  await fetch(`${base}/${canary}-path`, { method: 'POST', body: `${canary}-body` });

  const created = await rig.gantry('tokens', 'create', 'robot', '--scope', `deploy:${app}`, '--json');
  secrets['new token'] = (JSON.parse(created.stdout) as { token: string }).token;
  expect(secrets['new token']).toMatch(/^gantry_/);

  const repository = `https://ana:${canary}-upstream@127.0.0.1:1/${app}.git`;
  const link = ['webhooks', 'link', app, '--provider', 'github', '--repo', repository, '--json'];
  const { secret } = JSON.parse((await rig.gantry(...link)).stdout) as { secret: string };
  secrets['secret of the webhook'] = secret;
  const body = JSON.stringify({
    ref: 'refs/heads/main',
    after: 'a'.repeat(40),
    head_commit: { id: 'a'.repeat(40), message: `${canary}-message` },
    commits: [],
    repository: { clone_url: repository },
  });
  const signature = createHmac('sha256', secret).update(body).digest('hex');
  for (const signed of [signature, `${canary}-signature`])
    await fetch(`${base}/webhooks/${app}/github`, {
      method: 'POST',
      body,
      headers: {
        'x-github-event': 'push',
        'x-github-delivery': signed,
        'x-hub-signature-256': `sha256=${signed}`,
        'x-gitlab-token': `${canary}-gitlab`,
      },
    });

  // The address of a chat's webhook is its password.
  const heard: string[] = [];
  const chat = createServer((req, res) => {
    heard.push(req.url ?? '');
    res.writeHead(500).end(`${canary}-answer`);
  });
  const port = await freePort();
  await new Promise<void>((resolve) => chat.listen(port, '127.0.0.1', resolve));
  const address = `http://127.0.0.1:${port}/services/${canary}-chat`;
  await rig.gantry('webhooks', 'out', 'add', address, '--format', 'slack', '--app', app);
  await repo.commit({ version: 'two' });
  await repo.push(await rig.pushUrl(app));
  await rig.gantryWith(`${canary}-stdin`, 'run', app, '--', 'cat');
  await until('the chat was told', () => heard.length > 0);
  chat.close();

  const log = (await rig.log()) + rig.output.replaceAll(await rig.token, '');
  const seen = Object.entries(secrets).filter(([, value]) => log.includes(value));
  expect(seen.map(([name]) => name)).toEqual([]);
  expect(log.split('\n').filter((line) => line.includes(canary))).toEqual([]);
  // It does say what happened.
  expect((await records()).length).toBeGreaterThan(20);
}, 180_000);

test('each line is JSON that can be followed by the number of a deployment or the id of a request', async () => {
  const app = 'followed';
  await using repo = await appRepository('page');
  await repo.push(await rig.pushUrl(app));
  const deployed = (await records()).filter((line) => line.app === app && line.deployment === 1);
  expect(deployed.map(({ msg }) => msg)).toEqual(
    expect.arrayContaining(['deployment started', 'deployment ended']),
  );
  for (const line of deployed)
    expect(line).toMatchObject({ time: expect.any(Number), level: expect.any(Number) });

  await fetch(`http://127.0.0.1:${rig.port}/api/v1/apps/${app}`, {
    headers: { authorization: `Bearer ${await rig.token}`, 'x-request-id': 'mine-1' },
  });
  await until('it is written', async () => (await rig.log()).includes('mine-1'));
  expect((await records()).find((line) => line.request_id === 'mine-1')).toMatchObject({
    msg: 'request',
    method: 'GET',
    by: 'admin',
  });
});

test('a curl with a token in a header deploys again', async () => {
  const app = 'hooked';
  await using repo = await appRepository('page');
  await repo.push(await rig.pushUrl(app));
  const token = await rig.createToken('ci', [`deploy:${app}` as 'admin']);
  const { stdout } = await promisify(execFile)('curl', [
    '--silent',
    '--show-error',
    '--fail',
    '--request',
    'POST',
    '--header',
    `Authorization: Bearer ${token}`,
    '--json',
    '{"kind": "redeploy"}',
    `http://127.0.0.1:${rig.port}/api/v1/apps/${app}/deployments`,
  ]);
  expect(JSON.parse(stdout)).toEqual({ number: 2 });
  await until('it is live', async () => {
    const { body } = await rig.api('GET', `/apps/${app}/deployments/2`);
    return (JSON.parse(body) as { state: string }).state === 'live';
  });
});
