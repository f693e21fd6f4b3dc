import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { GitResult } from '../support/git.ts';
import { startReceiver } from '../support/receiver.ts';
import { appRepository, Rig, until } from '../support/rig.ts';

/** P5, one truth: whoever is asked how a deployment ended says the same. */
let rig: Rig;
let receiver: Awaited<ReturnType<typeof startReceiver>>;
let secret: string;
beforeAll(async () => {
  receiver = await startReceiver();
  rig = await Rig.start({
    GANTRY_HEALTH_TIMEOUT: '4',
    GANTRY_ALLOW_INTERNAL_ADDRESSES: '127.0.0.0/8',
  });
  const added = await rig.gantry('webhooks', 'out', 'add', receiver.url, '--all-apps', '--json');
  secret = (JSON.parse(added.stdout) as { secret: string }).secret;
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
  await receiver[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

type Facts = Record<string, unknown> & {
  number: number;
  state: string;
  trigger: string;
  reason: string | null;
};
type Event = { type: string; data: Facts };

const dockerfile = (...lines: string[]): string =>
  ['FROM gantry-test/base:1', ...lines, 'COPY version /www/index.html'].join('\n');
const serves = 'CMD ["httpd","-f","-p","8080","-h","/www"]\n';
const quick = `${dockerfile()}\n${serves}`;
const slow = `${dockerfile('RUN sleep 60')}\n${serves}`;

type Attempt = { result: GitResult; number: number };

/** Pushes what is slow to build, and does something to it when it is in work. */
async function interrupted(
  app: string,
  meddle: (repo: Awaited<ReturnType<typeof appRepository>>) => Promise<unknown>,
): Promise<Attempt> {
  await using repo = await appRepository('page', { Dockerfile: slow });
  const pushed = repo.push(await rig.pushUrl(app));
  await until('it is being built', async () => (await shown(app, 1)).state === 'running');
  await meddle(repo);
  return { result: await pushed, number: 1 };
}

async function pushed(app: string, text: string): Promise<Attempt> {
  await using repo = await appRepository('page', { Dockerfile: text });
  return { result: await repo.push(await rig.pushUrl(app)), number: 1 };
}

const outcomes: Record<
  string,
  { attempt: (app: string) => Promise<Attempt>; end: object; code: number; event: string }
> = {
  'that succeeds': {
    attempt: (app) => pushed(app, quick),
    end: { state: 'live', step: null, reason: null },
    code: 0,
    event: 'deploy.succeeded',
  },
  'whose build fails': {
    attempt: (app) => pushed(app, `${dockerfile('RUN exit 3')}\n${serves}`),
    end: { state: 'failed', step: 'build' },
    code: 1,
    event: 'deploy.failed',
  },
  'that is never healthy': {
    attempt: (app) => pushed(app, `${dockerfile()}\nCMD ["httpd","-f","-p","8080","-h","/etc"]\n`),
    end: { state: 'failed', step: 'health check' },
    code: 1,
    event: 'deploy.failed',
  },
  'that is cancelled': {
    attempt: (app) => interrupted(app, () => rig.gantry('deploys', 'cancel', '1', '--app', app)),
    end: { state: 'cancelled', step: null, reason: 'cancelled: by admin' },
    code: 1,
    event: 'deploy.cancelled',
  },
  'that is superseded': {
    attempt: (app) =>
      interrupted(app, async (repo) => {
        await repo.commit({ Dockerfile: quick }, 'Newer');
        await repo.push(await rig.pushUrl(app));
      }),
    end: { state: 'superseded', supersededBy: 2 },
    code: 1,
    event: 'deploy.superseded',
  },
  'that rolls back': {
    attempt: async (app) => {
      await using repo = await appRepository('page', { Dockerfile: quick, version: 'one' });
      await repo.push(await rig.pushUrl(app));
      await repo.commit({ version: 'two' }, 'Two');
      await repo.push(await rig.pushUrl(app));
      return { result: await rig.gantry('rollback', '--app', app), number: 3 };
    },
    end: { state: 'live', trigger: 'rollback', rollbackTo: 1 },
    code: 0,
    event: 'release.rolled_back',
  },
};

test.each(Object.entries(outcomes))('everybody says the same of a deployment %s', async (name, outcome) => {
  const app = name.replaceAll(' ', '-');
  const before = await counted();
  receiver.received.length = 0;
  const { result, number } = await outcome.attempt(app);

  const facts = await shown(app, number);
  expect(facts).toMatchObject(outcome.end);
  const { state, trigger, reason } = facts;
  // Whoever pushed, or typed the command.
  expect(result.code).toBe(outcome.code);
  const said = result.stdout + result.stderr;
  expect(said).toMatch(
    state === 'live' ? `success: ${app} v${number} is live` : `(deploy #${number} ${reason})`,
  );
  expect(said.includes('success:')).toBe(state === 'live');
  // Whoever reads the log later.
  const codes: Record<string, number> = { live: 0, failed: 6, cancelled: 7, superseded: 7 };
  const log = await rig.gantry('logs', '--app', app, '--deploy', String(number));
  expect(log.code).toBe(codes[state]);

  const { body } = await rig.api('GET', `/apps/${app}/deployments/${number}`);
  expect(JSON.parse(body)).toEqual(facts);
  const list = JSON.parse((await rig.gantry('deploys', '--app', app, '--json')).stdout) as Facts[];
  expect(list.find((one) => one.number === number)).toEqual(facts);
  const { live } = JSON.parse((await rig.gantry('apps', '--json')).stdout).find(
    (one: { name: string }) => one.name === app,
  ) as { live: number | null };
  expect(live === number).toBe(state === 'live');

  const events = () =>
    receiver.received.map(
      (one) => new Webhook(secret).verify(one.body, one.headers as Record<string, string>) as Event,
    );
  const ends = () =>
    events().filter(
      ({ type, data }) =>
        data.app === app && data.number === number && !['deploy.queued', 'deploy.started'].includes(type),
    );
  const types = new Set(state === 'live' ? ['deploy.succeeded', outcome.event] : [outcome.event]);
  await until('the events came', () => ends().length >= types.size);
  for (const { data } of ends()) {
    const { url, app: of, ...told } = data;
    expect({ url, of }).toEqual({ url: `http://${app}.localhost:${rig.httpPort}`, of: app });
    expect(facts).toMatchObject(told);
  }

  expect(new Set(ends().map(({ type }) => type))).toEqual(types);

  const key = `gantry_deploys_total{result="${state}",trigger="${trigger}"}`;
  const sum = (numbers: Map<string, number>): number => [...numbers.values()].reduce((a, b) => a + b, 0);
  await until('all are counted', async () => sum(await counted()) - sum(before) === list.length);
  const ended = list.filter((one) => one.state === state && one.trigger === trigger).length;
  expect(((await counted()).get(key) ?? 0) - (before.get(key) ?? 0)).toBe(ended);
});

async function shown(app: string, number: number): Promise<Facts> {
  const { stdout } = await rig.gantry('deploys', 'show', String(number), '--app', app, '--json');
  return JSON.parse(stdout || '{}') as Facts;
}

async function counted(): Promise<Map<string, number>> {
  const response = await fetch(`http://127.0.0.1:${rig.port}/metrics`, {
    headers: { authorization: `Bearer ${await rig.token}` },
  });
  const lines = (await response.text())
    .split('\n')
    .filter((line) => line.startsWith('gantry_deploys_total{'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
}
