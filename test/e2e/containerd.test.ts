import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { baseImage } from '../support/base-image.ts';
import { page, slowStep } from '../support/dockerfiles.ts';
import { expectToOutlive, inBuild, inHealthCheck } from '../support/fault-in-release.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { OwnEngine } from '../support/own-engine.ts';
import { appRepository, Rig } from '../support/rig.ts';
import { startPush } from '../support/started-push.ts';

/** The program dies that the engine starts containers with. What runs goes on; the engine has it back ten seconds later. */
let engine: OwnEngine;
let rig: Rig;
beforeAll(async () => {
  engine = await OwnEngine.start({ images: [baseImage] });
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '15', GANTRY_STOP_TIMEOUT: '1' }, engine);
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await engine?.[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

test.each([
  ['the middle of a build', 'built', inBuild],
  ['a health check', 'candidate', inHealthCheck],
])('in %s: the release goes live, and no visit fails', async (_when, app, moment) => {
  const { code } = await expectToOutlive(rig, app, moment, () => engine.killContainerd());
  expect(code).toBe(0);
});

test('before an app is stopped for its next release: that is started once it is back', async () => {
  await using repo = await appRepository('page', { version: 'one' });
  const url = await rig.pushUrl('alone');
  expect((await repo.push(url)).code).toBe(0);
  expect((await rig.gantry('volumes', 'add', 'alone', 'notes:/data')).code).toBe(0);

  await repo.commit({ version: 'two', Dockerfile: page(slowStep(2)) });
  const push = startPush(repo, url);
  await push.says('half-way');
  await engine.killContainerd();
  expect((await push.result).stderr).toContain('alone v2 is live');
  expect((await rig.request('alone')).body).toBe('two');
  await expectNothingLeftBehind(rig);
});

test('before a command of an app: it runs once it is back, and reads what it was given', async () => {
  await using repo = await appRepository('page', { version: 'one' });
  expect((await repo.push(await rig.pushUrl('tool'))).code).toBe(0);
  await engine.killContainerd();
  const ran = await rig.gantryWith('given\n', 'run', '--app', 'tool', '--', 'cat');
  expect(ran).toMatchObject({ code: 0, stdout: 'given\n' });
  await expectNothingLeftBehind(rig);
});
