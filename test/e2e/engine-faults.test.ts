import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { page, slowStep } from '../support/dockerfiles.ts';
import { EngineProxy } from '../support/engine-proxy.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { OwnEngine } from '../support/own-engine.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { startPush } from '../support/started-push.ts';

/** F16 to F20 and F44 of the list of faults: the engine, or the machine it is on, goes away at a step of a deployment. */
let engine: OwnEngine;
let proxy: EngineProxy;
let rig: Rig;
beforeAll(async () => {
  engine = await OwnEngine.start();
  proxy = await EngineProxy.start(engine.dockerHost.replace('unix://', ''));
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '20', DOCKER_HOST: proxy.dockerHost }, engine);
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await proxy?.[Symbol.asyncDispose]();
  await engine?.[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

/** Says when it runs, and never that it is healthy. */
const neverHealthy = 'FROM gantry-test/base:1\nCMD ["sleep","1000"]\n';

type Shown = { number: number; state: string; step: string | null; reason: string | null };

async function deployments(app: string): Promise<Shown[]> {
  const { body } = await rig.api('GET', `/apps/${app}/deployments`);
  return (JSON.parse(body) as { deployments: Shown[] }).deployments;
}

async function visit(app: string): Promise<string> {
  return rig.request(app).then(({ body }) => body.trim(), String);
}

/** An app whose version `one` serves; what is pushed next is up to the test. */
async function liveApp(app: string) {
  const repo = await appRepository('page');
  const url = await rig.pushUrl(app);
  expect((await repo.push(url)).stderr).toContain(`${app} v1 is live`);
  return { repo, url, [Symbol.asyncDispose]: () => repo[Symbol.asyncDispose]() };
}

/** What holds after every fault: the app serves, nothing is left of what failed, and the next push works. */
async function expectAllWell(
  app: { repo: Awaited<ReturnType<typeof appRepository>>; url: string },
  name: string,
) {
  await app.repo.commit({ version: 'after', Dockerfile: page() });
  expect((await app.repo.push(app.url)).stderr).toMatch(new RegExp(`${name} v\\d+ is live`));
  expect(await visit(name)).toBe('after');
  const states = (await deployments(name)).map(({ state }) => state);
  expect(states.filter((state) => !['live', 'failed'].includes(state))).toEqual([]);
  await expectNothingLeftBehind(rig, 60_000);
}

async function restartEngine(): Promise<void> {
  await engine.kill9();
  await engine.startDaemon();
}

describe('in the middle of a build', () => {
  test.each([
    ['BuildKit', {}],
    ['the legacy builder', { CC_DOCKER_BUILDX: 'false' }],
  ])('of %s: it begins again, once, and what served is back before', async (builder, env) => {
    const app = builder.replaceAll(' ', '-').toLowerCase();
    await using one = await liveApp(app);
    await rig.setEnv(app, env);
    await one.repo.commit({ version: 'two', Dockerfile: page(slowStep(3)) });
    const push = startPush(one.repo, one.url);
    await push.says('half-way');
    await restartEngine();
    await until('the old version serves', async () => (await visit(app)) === 'one', 10_000);
    const end = await push.result;
    expect(end.stderr).toMatch(/warning: the Docker engine restarted during the build; it begins again/);
    expect(end.stderr).toContain(`${app} v2 is live`);
    expect(end.code).toBe(0);
    expect(await visit(app)).toBe('two');
    await expectAllWell(one, app);
  });

  test('and again in the second try: it fails in one line', async () => {
    await using one = await liveApp('twice');
    await one.repo.commit({ version: 'two', Dockerfile: page(slowStep(60)) });
    const push = startPush(one.repo, one.url);
    await push.says('half-way');
    await engine.stopDaemon();
    await engine.startDaemon();
    await push.says('half-way', 2);
    await restartEngine();
    const end = await push.result;
    expect(end.stderr).toMatch(/error: deploy #2 failed in "build" after/);
    expect(end.stderr).toMatch(/the Docker engine restarted during the build, twice/);
    expect(end.code).toBe(1);
    await until('the old version serves', async () => (await visit('twice')) === 'one', 10_000);
    await expectAllWell(one, 'twice');
  });
});

test('killed while a candidate is to become healthy: it is gone, the old version is back, and the reason is said', async () => {
  await using one = await liveApp('sick');
  await one.repo.commit({ version: 'two', Dockerfile: neverHealthy });
  const push = startPush(one.repo, one.url);
  await push.says('not yet:');
  await restartEngine();
  const end = await push.result;
  expect(end.stderr).toMatch(/error: deploy #2 failed in "health check" after/);
  expect(end.stderr).toContain('the Docker engine restarted, and the new container ended with it');
  expect(end.code).toBe(1);
  await until('the old version serves', async () => (await visit('sick')) === 'one', 10_000);
  await expectAllWell(one, 'sick');
});

test('gone right after the switch: the one that is live runs when the engine is back, and nothing else', async () => {
  await using one = await liveApp('late');
  await one.repo.commit({ version: 'two' });
  // Asked to restart it from now on, which comes after the switch.
  proxy.goAwayAt(/\/containers\/\w+\/update/);
  const end = await one.repo.push(one.url);
  expect(end.stderr).toMatch(/warning: v2 would not restart by itself: the connection to the/);
  expect(end.stderr).toContain('late v2 is live');
  await restartEngine();
  await proxy.comeBack();
  const began = performance.now();
  await until('the new version serves', async () => (await visit('late')) === 'two', 10_000);
  console.log(`recovery: engine killed after the switch: ${seconds(began)}`);
  await expectNothingLeftBehind(rig);
  await expectAllWell(one, 'late');
});

test('hangs in a build and before a start: both fail in their step within a minute, and what served does', async () => {
  await using built = await liveApp('built');
  await using begun = await liveApp('begun');
  await rig.setEnv('begun', { CC_PRE_RUN_HOOK: 'echo waiting; sleep 3' });
  await built.repo.commit({ version: 'two', Dockerfile: page(slowStep(300)) });
  await begun.repo.commit({ version: 'two' });
  const pushes = [startPush(built.repo, built.url), startPush(begun.repo, begun.url)] as const;
  await Promise.all([pushes[0].says('half-way'), pushes[1].says('waiting')]);
  engine.pause();
  const began = performance.now();
  const [build, start] = await Promise.all(pushes.map(({ result }) => result));
  expect(performance.now() - began).toBeLessThan(60_000);
  const visits = await Promise.all(['built', 'begun'].map(visit));
  engine.resume();
  expect(visits).toEqual(['one', 'one']);
  expect(build?.stderr).toMatch(/error: deploy #2 failed in "build" after/);
  expect(start?.stderr).toMatch(/error: deploy #2 failed in "start" after/);
  for (const push of [build, start])
    expect(push?.stderr).toMatch(/the Docker engine did not answer within 30 s \(.*\); is it hanging\?/);
  await expectAllWell(built, 'built');
  await rig.setEnv('begun', { CC_PRE_RUN_HOOK: null });
  await expectAllWell(begun, 'begun');
});

describe('the power is cut', () => {
  test.each([
    ['in the middle of a build', 'half-way', page(slowStep(4)), 'live', 'two'],
    ['while a candidate is to become healthy', 'not yet:', neverHealthy, 'failed', 'one'],
  ])(
    '%s: what served is back, and the deployment comes to one end',
    async (moment, said, dockerfile, ending, serving) => {
      const app = moment.replaceAll(' ', '-');
      await using one = await liveApp(app);
      await one.repo.commit({ version: 'two', Dockerfile: dockerfile });
      const push = startPush(one.repo, one.url);
      await push.says(said);
      await engine.powerOff();
      const began = performance.now();
      await engine.powerOn();
      await Promise.all([engine.startDaemon(), rig.start()]);
      await until('the old version serves', async () => (await visit(app)) === 'one', 20_000);
      console.log(`recovery: power cut ${moment}: ${seconds(began)}`);
      await push.result;
      await until(`it is ${ending}`, async () => (await deployments(app))[0]?.state === ending, 60_000);
      expect(await visit(app)).toBe(serving);
      await expectAllWell(one, app);
    },
  );
});

function seconds(began: number): string {
  return `${((performance.now() - began) / 1000).toFixed(1)} s`;
}
