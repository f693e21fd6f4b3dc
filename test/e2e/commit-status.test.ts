import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Forge, startForge, startRigOf } from '../support/forge.ts';
import { linkedApp } from '../support/linked-app.ts';
import { type Rig, until } from '../support/rig.ts';

let forge: Forge;
let rig: Rig;
beforeAll(async () => {
  forge = await startForge();
  rig = await startRigOf(forge, { GANTRY_WEBHOOK_RETRIES: '0.2,0.2,1,1,1,1,1,1,1' });
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
  await forge[Symbol.asyncDispose]();
});
beforeEach(() => {
  forge.told.length = 0;
  forge.apiAnswer = { status: 201, body: '{}' };
  rig.explainFailures();
});

const token = 'the-token-of-the-forge';
const broken = { Dockerfile: 'no instruction\n' };

test.each([
  [
    'github',
    '/api/v3/repos/ana/to-github/statuses/',
    'authorization',
    `Bearer ${token}`,
    ['pending', 'pending', 'success', 'failure'],
  ],
  [
    'gitlab',
    '/api/v4/projects/ana%2Fto-gitlab/statuses/',
    'private-token',
    token,
    ['pending', 'running', 'success', 'failed'],
  ],
  [
    'gitea',
    '/api/v1/repos/ana/to-gitea/statuses/',
    'authorization',
    `token ${token}`,
    ['pending', 'pending', 'success', 'failure'],
  ],
] as const)(
  '%s is told how the deployment of each commit stands',
  async (provider, path, header, login, words) => {
    const [queued, running, live, failed] = words;
    const app = `to-${provider}`;
    const linked = await linkedApp(rig, forge, app, provider, ['--status'], `${token}\n`);
    await linked.tell(linked.first);
    await linked.ended(1, 'live');
    await until('it is told', () => forge.told.some(({ body }) => body.state === live));
    const second = await linked.push(broken, 'Break it', true);
    await linked.ended(2, 'failed');
    await until('the failure is told', () => forge.told.some(({ body }) => body.state === failed));
    const of = (commit: string) => forge.told.filter((one) => one.path === path + commit);
    // What is over before it was said is not said.
    const states = of(linked.first).map(({ body }) => String(body.state));
    expect([...new Set([queued, running, live])].filter((word) => states.includes(word))).toEqual([
      ...new Set(states),
    ]);
    expect(of(linked.first).at(-1)?.body).toMatchObject({
      description: 'v1 is live',
      target_url: `http://${app}.localhost:${rig.httpPort}`,
      [provider === 'gitlab' ? 'name' : 'context']: `gantry/${app}`,
    });
    expect(of(second).at(-1)?.body).toMatchObject({
      state: failed,
      description: expect.stringMatching(/^deploy #2 failed in build: /) as string,
    });
    expect(forge.told.length).toBe(of(linked.first).length + of(second).length);
    expect(new Set(forge.told.map(({ headers }) => headers[header]))).toEqual(new Set([login]));

    const shown = await rig.gantry('webhooks', 'list', '--app', app);
    expect(shown.stdout).toMatch(
      /^out +status +status +https:\/\/\S+ +deploy\.failed delivered: answered 201$/m,
    );
    const all = shown.stdout + (await rig.log()) + (await rig.gantry('audit')).stdout;
    expect(all).not.toContain(token);
  },
);

test('a forge that is away is told later; one that refuses the token is not asked again and again', async () => {
  const linked = await linkedApp(rig, forge, 'away', 'github');
  const given = await rig.gantryWith(token, 'webhooks', 'set', '--status', '--app', 'away');
  expect(given.stderr).toMatch(/commit status: told/);
  forge.apiAnswer = { status: 503, body: '' };
  await linked.push(broken, 'Break it', true);
  await linked.ended(1, 'failed');
  const before = forge.told.length;
  await until('it was tried again', () => forge.told.length > before + 1);
  forge.apiAnswer = { status: 201, body: '{}' };
  await until('it is told', async () => (await list('away')).includes('deploy.failed delivered'));
  expect(forge.told.at(-1)?.body).toMatchObject({ state: 'failure' });

  forge.apiAnswer = { status: 401, body: '{"message":"Bad credentials"}' };
  await linked.push({ ...broken, more: '1' }, 'Break it more', true);
  await linked.ended(2, 'failed');
  await until('it is refused', async () =>
    (await list('away')).includes('failed: answered 401: the token is not good'),
  );
});

test('a token is told to no other repository than the one it was given for', async () => {
  await linkedApp(rig, forge, 'moved', 'github', ['--status'], token);
  expect(await list('moved')).toMatch(/^out +status/m);
  const to = ['--repo', `${forge.url}/somebody/else.git`];
  await rig.gantry('webhooks', 'link', 'moved', '--provider', 'github', ...to);
  expect(await list('moved')).not.toMatch(/^out +status/m);

  const generic = await rig.gantryWith(
    token,
    'webhooks',
    'link',
    'moved',
    '--provider',
    'generic',
    ...to,
    '--status',
  );
  expect(generic.stderr).toMatch(/only a forge shows the status of a commit/);
  await rig.gantryWith(token, 'webhooks', 'set', '--status', '--app', 'moved');
  await rig.gantry('webhooks', 'set', '--no-status', '--app', 'moved');
  expect(await list('moved')).not.toMatch(/^out/m);
});

async function list(app: string): Promise<string> {
  return (await rig.gantry('webhooks', 'list', '--app', app)).stdout;
}
