import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { baseImage } from '../support/base-image.ts';
import { page, slowStep } from '../support/dockerfiles.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { OwnEngine } from '../support/own-engine.ts';
import { appRepository, Rig } from '../support/rig.ts';
import { startPush } from '../support/started-push.ts';

/** Operators prune, from cron too, and Gantry itself says so when the disk is full; an engine of its own can be pruned. */
let engine: OwnEngine;
let rig: Rig;
beforeAll(async () => {
  engine = await OwnEngine.start({ images: [baseImage] });
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '10', GANTRY_STOP_TIMEOUT: '1' }, engine);
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await engine?.[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

/** `docker system prune --all`: everything that no container runs in or from. */
async function prune(): Promise<void> {
  await engine.docker.pruneContainers();
  await engine.docker.pruneNetworks();
  await engine.docker.pruneImages({ filters: { dangling: ['false'] } });
  await engine.docker.pruneBuilder();
}

/** With a layer that no other image has, under a name that is used again. */
async function makeBase(repo: string): Promise<string> {
  const container = await engine.docker.createContainer({
    Image: baseImage,
    Cmd: ['sh', '-c', `echo ${randomUUID()} > /own`],
  });
  await container.start();
  await container.wait();
  await container.commit({ repo, tag: '1' });
  await container.remove();
  return `${repo}:1`;
}

/** Its second stage waits for the first one, with a base of which nothing is used yet. */
function twoStages(base: string): string {
  const last = page().replace(/FROM.*/, `FROM ${base}\nCOPY --from=slow /bin/busybox /copied`);
  return [`FROM ${baseImage} AS slow`, slowStep(3), last].join('\n');
}

test.each([1, 2])('while a first deployment of %i builds: its network is made again', async (instances) => {
  const app = `netless-${instances}`;
  await using repo = await appRepository('page', { version: 'one', Dockerfile: page(slowStep(3)) });
  await rig.setEnv(app, {});
  await rig.gantry('scale', '--instances', String(instances), '--app', app);
  const push = startPush(repo, await rig.pushUrl(app));
  await push.says('half-way');
  await prune();
  await engine.load(baseImage);
  const end = await push.result;
  expect(end.stderr).toContain(`${app} v1 is live`);
  expect(end.code).toBe(0);
  expect((await rig.request(app)).body).toBe('one');
});

test('while a task is built: it runs', async () => {
  const Dockerfile = page(slowStep(3)).replace(/CMD.*/, 'CMD ["echo","the task ran"]');
  await using repo = await appRepository('page', { version: 'one', Dockerfile });
  await rig.setEnv('chore', { CC_TASK: 'true' });
  const push = startPush(repo, await rig.pushUrl('chore'));
  await push.says('half-way');
  await prune();
  await engine.load(baseImage);
  const end = await push.result;
  expect(end.stderr).toContain('the task ran');
  expect(end.code).toBe(0);
});

test('between a build and its start: says that the image is gone, what serves does, and the next push works', async () => {
  await using repo = await appRepository('page', { version: 'one' });
  const url = await rig.pushUrl('imageless');
  expect((await repo.push(url)).code).toBe(0);
  await rig.setEnv('imageless', { CC_PRE_RUN_HOOK: 'echo half-way; sleep 3' });
  await repo.commit({ version: 'two' });
  const push = startPush(repo, url);
  await push.says('half-way');
  await prune();
  await engine.load(baseImage);
  const end = await push.result;
  expect(end.stderr).toMatch(/error: deploy #2 failed in "start" after/);
  expect(end.stderr).toMatch(/the image gantry-\w+\/imageless:v2-\w+ is gone from the engine/);
  expect(end.code).toBe(1);
  expect((await rig.request('imageless')).body).toBe('one');
  const again = await repo.push(url);
  expect(again.stderr).toContain('imageless v3 is live');
  expect((await rig.request('imageless')).body).toBe('two');
});

test.each([
  ['BuildKit', {}],
  ['the legacy builder', { CC_DOCKER_BUILDX: 'false' }],
])('while %s builds on an image that is exchanged meanwhile: it goes live', async (builder, env) => {
  const app = builder.replaceAll(' ', '-').toLowerCase();
  const base = await makeBase(`base/${app}`);
  await using repo = await appRepository('page', { version: 'one', Dockerfile: twoStages(base) });
  await rig.setEnv(app, env);
  const push = startPush(repo, await rig.pushUrl(app));
  await push.says('half-way');
  await prune();
  await engine.load(baseImage);
  await makeBase(`base/${app}`);
  const end = await push.result;
  expect(end.stderr).toContain(`${app} v1 is live`);
  expect(end.code).toBe(0);
});

test('after all of that nothing is left behind', async () => {
  for (const app of ['chore', 'netless-2'])
    expect((await rig.api('DELETE', `/apps/${app}`)).status).toBe(202);
  await expectNothingLeftBehind(rig, 30_000);
});
