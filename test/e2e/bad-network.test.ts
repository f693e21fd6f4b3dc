import { randomInt, randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { page } from '../support/dockerfiles.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { Network } from '../support/network.ts';
import { temporaryRedis } from '../support/redis.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { startPush } from '../support/started-push.ts';
import { Visitors } from '../support/visitor.ts';

/** When something goes wrong: the same seed breaks the same connections after the same times. */
const seed = Number(process.env.NETWORK_SEED ?? randomInt(2 ** 31));

const lines = 200;

/** A build that says so many lines over four seconds. */
function talkative(): string {
  const run = `RUN echo ${randomUUID()} half-$(echo way); for i in $(seq 1 ${lines}); do echo line-$i; sleep 0.02; done`;
  return page(run);
}

/** The lines of the build as they are in a text. */
function counted(text: string): number[] {
  return [...text.matchAll(/line-(\d+)\b(?!;)/g)].map(([, number]) => Number(number));
}

const everyLine = Array.from({ length: lines }, (_, index) => index + 1);

let redis: Awaited<ReturnType<typeof temporaryRedis>>;
let network: Network;
let rig: Rig;
let repo: Awaited<ReturnType<typeof appRepository>>;
let visitors: Visitors;
beforeAll(async () => {
  redis = await temporaryRedis();
  network = await Network.before(redis.process.socket, seed);
  rig = await Rig.start({ GANTRY_REDIS_URL: `redis://127.0.0.1:${network.port}` });
  repo = await appRepository('page');
  await repo.push(await rig.pushUrl('shop'));
});
afterAll(async () => {
  network?.mend();
  await repo?.[Symbol.asyncDispose]();
  await rig?.[Symbol.asyncDispose]();
  await network?.[Symbol.asyncDispose]();
  await redis?.[Symbol.asyncDispose]();
});
beforeEach(() => {
  rig.explainFailures();
  visitors = new Visitors(rig.httpPort, 'shop.localhost', 20);
});
afterEach(async () => {
  network.mend();
  await visitors.leave();
});

type Deployment = { number: number; state: string };

async function deployments(): Promise<Deployment[]> {
  const { body } = await rig.api('GET', '/apps/shop/deployments');
  return (JSON.parse(body) as { deployments: Deployment[] }).deployments;
}

/** A push whose build takes some seconds. */
async function begin(version: string) {
  await repo.commit({ version, Dockerfile: talkative() });
  const push = startPush(repo, await rig.pushUrl('shop'));
  await push.says('half-way');
  return push;
}

/** Live, once, with every line of its log, and no other deployment was made. */
async function expectWhole(version: string, push: Awaited<ReturnType<typeof begin>>): Promise<void> {
  const before = await push.result;
  network.mend();
  const [, number = ''] = /success: shop v(\d+) is live/.exec(before.stderr) ?? [];
  expect(before.stderr.match(/success: shop v\d+ is live/g)).toHaveLength(1);
  expect(before.code).toBe(0);
  expect(counted(before.stderr)).toEqual(everyLine);
  expect((await rig.request('shop')).body).toBe(version);
  const log = await rig.gantry('logs', '--app', 'shop', '--deploy', number);
  expect(counted(log.stdout)).toEqual(everyLine);
  expect((await deployments())[0]).toMatchObject({ number: Number(number), state: 'live' });
  await expectNothingLeftBehind(rig);
  expect(visitors.requests).toBeGreaterThan(20);
  expect(visitors.failures).toEqual([]);
}

test('a quarter to half a second each way: slower, and right; the API answers', async () => {
  network.slow(250, 500);
  const push = await begin('slow');
  const began = performance.now();
  expect((await rig.api('GET', '/apps')).status).toBe(200);
  expect(performance.now() - began).toBeLessThan(8000);
  await expectWhole('slow', push);
}, 180_000);

test(`connections break at random (NETWORK_SEED=${seed}): each push ends with the truth, nothing is done or said twice`, async () => {
  const last = (await deployments())[0]?.number ?? 0;
  const made: Deployment[] = [];
  for (const version of ['first', 'second', 'third']) {
    const push = await begin(version);
    network.breakAtRandom(200);
    await expectWhole(version, push);
    made.push(...(await deployments()).filter(({ number }) => number > last + made.length));
  }
  expect(made).toMatchObject([1, 2, 3].map((step) => ({ number: last + step, state: 'live' })));
}, 240_000);

test(`connections break from before a push (NETWORK_SEED=${seed}): it is refused with the reason and nothing of it is there, or it is live`, async () => {
  let serving = (await rig.request('shop')).body;
  for (let count = 1; count <= 8; count += 1) {
    const version = `attempt ${count}`;
    const known = await deployments();
    await repo.commit({ version, Dockerfile: page() });
    network.breakAtRandom(100);
    const push = await repo.push(await rig.pushUrl('shop'));
    network.mend();
    await until('it is well again', async () => (await rig.api('GET', '/apps')).status === 200);
    const made = (await deployments()).filter(({ number }) => number > (known[0]?.number ?? 0));
    const isLive = push.code === 0;
    if (isLive) serving = version;
    expect({ isLive, made, said: push.stderr }).toMatchObject({
      isLive,
      made: isLive ? [{ state: 'live' }] : [],
      // A hint comes before the refusal when git tells that by itself, ref by ref.
      said: expect.stringMatching(
        isLive ? /success: shop v\d+ is live/ : /^(?=[^]*the deploy queue is unavailable)(?=[^]*try again)/,
      ),
    });
    expect((await rig.request('shop')).body).toBe(serving);
  }
  await expectNothingLeftBehind(rig);
  expect(visitors.failures).toEqual([]);
}, 180_000);

test('nothing arrives for ten seconds: people are told within seconds, and the deployment goes on where it was', async () => {
  const push = await begin('late');
  network.holdBack();
  const began = performance.now();
  const answer = await rig.api('GET', '/apps');
  expect(answer.status).toBe(503);
  expect(performance.now() - began).toBeLessThan(5000);
  const alive = await fetch(`http://127.0.0.1:${rig.port}/livez`);
  expect(alive.status).toBe(200);
  await new Promise((resolve) => setTimeout(resolve, began + 10_000 - performance.now()));
  network.mend();
  await expectWhole('late', push);
}, 180_000);

test('the network forgets all connections and tells nobody: within half a minute all works over new ones', async () => {
  const push = await begin('forgotten');
  network.forget();
  const began = performance.now();
  await until('the API answers again', async () => (await rig.api('GET', '/apps')).status === 200);
  const end = await push.result;
  expect(end.stderr.match(/success: shop v\d+ is live/g)).toHaveLength(1);
  expect(performance.now() - began).toBeLessThan(60_000);
  await expectWhole('forgotten', push);
}, 180_000);
