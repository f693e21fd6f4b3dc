import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Clock } from '../support/clock.ts';
import { page, slowStep } from '../support/dockerfiles.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { startPush } from '../support/started-push.ts';
import { Visitors } from '../support/visitor.ts';

let rig: Rig;
let repo: Awaited<ReturnType<typeof appRepository>>;
const clock = new Clock();
beforeAll(async () => {
  rig = await Rig.start(clock.env);
  repo = await appRepository('page');
  await repo.push(await rig.pushUrl('shop'));
});
afterAll(async () => {
  await repo?.[Symbol.asyncDispose]();
  await rig?.[Symbol.asyncDispose]();
  clock[Symbol.dispose]();
});
beforeEach(() => rig.explainFailures());

type Deployment = { number: number; state: string; createdAt: string; runs: number };

async function lastDeployment(): Promise<Deployment | undefined> {
  const { body } = await rig.api('GET', '/apps/shop/deployments');
  return (JSON.parse(body) as { deployments: Deployment[] }).deployments[0];
}

const saying = 'CMD ["sh","-c","echo serving; exec httpd -f -p 8080 -h /www"]';
const day = 86_400_000;

/** How far the clock of Gantry is from ours. */
async function offset(): Promise<number> {
  const { headers } = await fetch(`http://127.0.0.1:${rig.port}/healthz`);
  return Date.parse(headers.get('date') ?? '') - Date.now();
}

test('a clock set back by an hour just before a worker is killed keeps nobody waiting', async () => {
  const url = await rig.pushUrl('shop');
  await repo.commit({ version: 'after the kill', Dockerfile: page(slowStep(4)).replace(/CMD.*/, saying) });
  const push = startPush(repo, url);
  await push.says('half-way');
  clock.jump('-1h');
  process.kill(await rig.workerPid(), 'SIGKILL');
  const { stderr, code } = await push.result;
  expect(stderr).toMatch(/success: shop v\d+ is live/);
  expect(code).toBe(0);
  expect((await rig.request('shop')).body).toBe('after the kill');
  expect(await lastDeployment()).toMatchObject({ state: 'live', runs: 2 });
  await until(
    'somebody collects what it prints',
    async () => {
      const { stdout } = await rig.gantry('logs', '--app', 'shop', '--source', 'app');
      return stdout.includes('serving');
    },
    20_000,
  );
  clock.jump('+0');
}, 90_000);

test.each([
  { jump: '+1h', by: day / 24 },
  { jump: '-1h', by: -day / 24 },
  { jump: '+1d', by: day },
  { jump: '-1d', by: -day },
  { jump: '+4800d', by: 4800 * day },
])(
  'the clock jumps by $jump in a build, and back in the next: both are live, once, and nobody is turned away',
  async ({ jump, by }) => {
    const url = await rig.pushUrl('shop');
    const known = (await lastDeployment())?.number ?? 0;
    const visitors = new Visitors(rig.httpPort, 'shop.localhost', 25);
    for (const [index, to] of [jump, '+0'].entries()) {
      const version = `${jump} ${index}`;
      await repo.commit({ version, Dockerfile: page(slowStep(4)) });
      const push = startPush(repo, url);
      await push.says('half-way');
      clock.jump(to);
      const { stderr, code } = await push.result;
      expect(stderr).toMatch(/success: shop v\d+ is live/);
      expect(code).toBe(0);
      expect((await rig.request('shop')).body).toBe(version);
      expect(Math.abs((await offset()) - (index === 0 ? by : 0))).toBeLessThan(5000);
    }
    await visitors.leave();
    expect(visitors.failures).toEqual([]);
    expect(await lastDeployment()).toMatchObject({ number: known + 2, state: 'live', runs: 1 });
    await until('it is ready', async () => (await rig.gantry('status')).code === 0);
    await expectNothingLeftBehind(rig);
  },
  120_000,
);
