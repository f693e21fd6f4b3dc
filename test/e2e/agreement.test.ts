import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { GitResult } from '../support/git.ts';
import { areCounted, countedDeploys, Onlooker } from '../support/onlooker.ts';
import { appRepository, Rig, until } from '../support/rig.ts';

/** P5, one truth: whoever is asked how a deployment ended says the same. */
let rig: Rig;
let onlooker: Onlooker;
beforeAll(async () => {
  rig = await Rig.start({
    GANTRY_HEALTH_TIMEOUT: '4',
    GANTRY_ALLOW_INTERNAL_ADDRESSES: '127.0.0.0/8',
  });
  onlooker = await Onlooker.of(rig);
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
  await onlooker[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

type Facts = Record<string, unknown> & {
  number: number;
  state: string;
  trigger: string;
  reason: string | null;
  crash: string | null;
};

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

/** Its second release ends soon after it went live. */
async function putBack(app: string): Promise<Attempt> {
  await using repo = await appRepository('page', { Dockerfile: quick, version: 'one' });
  const url = await rig.pushUrl(app);
  await repo.push(url);
  const crashing = 'CMD httpd -p 8080 -h /www && sleep 2 && exit 3\n';
  await repo.commit({ Dockerfile: `${dockerfile()}\n${crashing}`, version: 'two' }, 'Break it');
  const second = await repo.push(url);
  expect(second.stderr).toContain(`success: ${app} v2 is live`);
  await until('v1 is live again', async () => (await shown(app, 3)).state === 'live');
  await agreeOnCrash(app, 2);
  return { result: await rig.gantry('logs', '--app', app, '--deploy', '3'), number: 3 };
}

/** That it went live is as true as before; what became of it is said besides, by all in the same words. */
async function agreeOnCrash(app: string, number: number): Promise<void> {
  const facts = await shown(app, number);
  const crash = 'crashed \\ds after it went live: it exited with code 3; v1 is put back by deploy #3';
  expect(facts).toMatchObject({ state: 'live', reason: null, crash: expect.stringMatching(crash) as string });
  const { body } = await rig.api('GET', `/apps/${app}/deployments/${number}`);
  expect(JSON.parse(body)).toEqual(facts);
  const log = await rig.gantry('logs', '--app', app, '--deploy', String(number));
  expect(log.stdout).toContain(`error: it ${facts.crash}`);
  expect((await rig.gantry('deploys', '--app', app)).stdout).toContain(String(facts.crash));
  expect((await rig.gantry('releases', '--app', app)).stdout).toMatch(/^v2 +crashed /m);
  await until('the event came', () =>
    onlooker.endsOf(app, number).some(({ type }) => type === 'release.crashed'),
  );
  const event = onlooker.endsOf(app, number).find(({ type }) => type === 'release.crashed');
  expect(event?.data).toMatchObject({ state: 'live', trigger: 'push', reason: facts.crash });
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
  'that replaces a crashed one': {
    attempt: putBack,
    end: { state: 'live', trigger: 'crash', rollbackTo: 1, crash: null },
    code: 0,
    event: 'release.rolled_back',
  },
};

test.each(Object.entries(outcomes))('everybody says the same of a deployment %s', async (name, outcome) => {
  const app = name.replaceAll(' ', '-');
  const before = await countedDeploys(rig);
  const { result, number } = await outcome.attempt(app);

  const facts = await shown(app, number);
  expect(facts).toMatchObject(outcome.end);
  const { state, reason } = facts;
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

  const ends = () => onlooker.endsOf(app, number);
  const types = new Set(state === 'live' ? ['deploy.succeeded', outcome.event] : [outcome.event]);
  await until('the events came', () => ends().length >= types.size);
  for (const { data } of ends()) {
    const { url, app: of, ...told } = data;
    expect({ url, of }).toEqual({ url: `http://${app}.localhost:${rig.httpPort}`, of: app });
    expect(facts).toMatchObject(told);
  }

  expect(new Set(ends().map(({ type }) => type))).toEqual(types);

  await until('all are counted, once each', () => areCounted(rig, before, list));
});

async function shown(app: string, number: number): Promise<Facts> {
  const { stdout } = await rig.gantry('deploys', 'show', String(number), '--app', app, '--json');
  return JSON.parse(stdout || '{}') as Facts;
}
