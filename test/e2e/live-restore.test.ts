import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { baseImage } from '../support/base-image.ts';
import { expectToOutlive, inBuild, inHealthCheck } from '../support/fault-in-release.ts';
import { OwnEngine } from '../support/own-engine.ts';
import { Rig } from '../support/rig.ts';

/** An engine that leaves its containers alone when it ends, as README advises. */
let engine: OwnEngine;
let rig: Rig;
beforeAll(async () => {
  engine = await OwnEngine.start({ images: [baseImage], flags: ['--live-restore'] });
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '15', GANTRY_STOP_TIMEOUT: '1' }, engine);
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await engine?.[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

const updated = () => engine.stopDaemon().then(() => engine.startDaemon());
const killed = () => engine.kill9().then(() => engine.startDaemon());

test('gantry doctor says so', async () => {
  const { stdout } = await rig.gantryHere('doctor', '--json');
  expect(stdout).toContain('apps go on meanwhile (live-restore)');
});

test.each([
  ['updated', updated],
  ['killed', killed],
])('%s in the middle of a build: no visit fails, and the build begins again', async (how, fault) => {
  const { stderr } = await expectToOutlive(rig, how, inBuild, fault);
  expect(stderr).toMatch(/warning: the Docker engine restarted during the build; it begins again/);
});

test('killed while a candidate becomes healthy: it goes live once the engine is back', async () => {
  const { code } = await expectToOutlive(rig, 'candidate', inHealthCheck, killed);
  expect(code).toBe(0);
});
