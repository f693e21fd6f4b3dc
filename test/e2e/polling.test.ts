import { rename } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Forge, startForge, startRigOf } from '../support/forge.ts';
import { linkedApp } from '../support/linked-app.ts';
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

/** A look that began after this was called has been dealt with. */
async function lookedAt(app: string): Promise<void> {
  const looks = () => forge.requests.filter((one) => one === `GET /ana/${app}.git/info/refs`).length;
  const before = looks();
  await until(`${app} is looked at`, () => looks() > before);
  const began = Date.now();
  await until(`the look at ${app} is over`, async () => {
    const { body } = await rig.api('GET', `/apps/${app}/webhook`);
    const { poll } = JSON.parse(body) as { poll: { at: string } };
    return new Date(poll.at).getTime() > began;
  });
}

const list = async (app: string): Promise<string> =>
  (await rig.gantry('webhooks', 'list', '--app', app)).stdout;

test('a commit that nobody told of is deployed once, one that says so is not, and neither is what was told', async () => {
  const app = await linkedApp(rig, forge, 'polled', 'github', ['--poll', '5s']);
  await app.ended(1, 'live');
  expect(await app.deployments()).toMatchObject([
    { number: 1, commit: app.first, trigger: 'webhook', by: 'github' },
  ]);

  await app.push({ version: 'two' }, 'Not now [skip deploy]');
  await until('it is skipped', async () =>
    (await rig.gantry('webhooks', 'deliveries', '--app', 'polled')).stdout.includes(
      'the commit says [skip deploy]',
    ),
  );
  const broken = await app.push({ Dockerfile: 'no instruction\n' }, 'Break it', true);
  await app.ended(2, 'failed');
  await lookedAt('polled');
  // It was told of, and failed: looking at it does not make it better.
  expect(await app.deployments()).toMatchObject([{ number: 2, commit: broken }, { number: 1 }]);

  // Moved back on purpose, past what is there.
  await app.work.git('push', '--quiet', '--force', app.path, `${app.first}:main`);
  await lookedAt('polled');
  await app.work.git('push', '--quiet', '--force', app.path, `${broken}:main`);
  await app.ended(3, 'failed');
  const url = `${app.url} main +polled every 5s, last at`;
  expect(await list('polled')).toMatch(new RegExp(url));

  await rig.gantry('webhooks', 'set', '--poll', 'off', '--app', 'polled');
  expect(await list('polled')).toMatch(/not polled/);
  const requests = forge.requests.length;
  await app.push({ version: 'three' }, 'Unseen');
  const other = await linkedApp(rig, forge, 'other', 'github', ['--poll', '5s']);
  await other.ended(1, 'live');
  await lookedAt('other');
  expect(forge.requests.slice(requests).filter((one) => one.includes('polled'))).toEqual([]);
});

test('a repository that is away is one line, also in the log, until it is back; and a restart goes on', async () => {
  const app = await linkedApp(rig, forge, 'broken', 'github', ['--poll', '5s']);
  await app.ended(1, 'live');
  await rename(app.path, `${app.path}.away`);
  await until('it is noticed', async () => (await list('broken')).includes('failing since'));
  await lookedAt('broken');
  expect(await list('broken')).toMatch(
    /polled every 5s, failing since \S+ \S+ UTC: it is not there, or private/,
  );
  const lines = (await rig.log()).split('\n').filter((line) => line.includes('cannot be looked at'));
  expect(lines).toHaveLength(1);
  expect(
    (await rig.gantry('webhooks', 'deliveries', '--app', 'broken')).stdout.trim().split('\n'),
  ).toHaveLength(2);

  await rig.crash();
  await rename(`${app.path}.away`, app.path);
  await app.push({ version: 'two' }, 'While nobody looked');
  await rig.start();
  await app.ended(2, 'live');
  await until('it is well', async () => !(await list('broken')).includes('failing'));
});

test.each(['5', '4s', '2d', '5 m'])('a time such as %s is refused', async (time) => {
  const link = await rig.gantry('webhooks', 'set', '--poll', time, '--app', 'polled');
  expect(link).toMatchObject({ code: 2, stderr: expect.stringMatching(/no time between polls/) as string });
});
