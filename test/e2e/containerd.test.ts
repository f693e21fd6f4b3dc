import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { baseImage } from '../support/base-image.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { OwnEngine } from '../support/own-engine.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { startPush } from '../support/started-push.ts';
import { Visitors } from '../support/visitor.ts';

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

function page(...more: string[]): string {
  const serve = 'CMD ["httpd","-f","-p","8080","-h","/www"]\n';
  return [`FROM ${baseImage}`, 'COPY version /www/index.html', ...more, serve].join('\n');
}

const slow = (): string => page(`RUN echo ${randomUUID()} half-$(echo way) && sleep 2`);

test('during a build: the release is started once it is back, and no visit fails', async () => {
  await using repo = await appRepository('page', { version: 'one' });
  const url = await rig.pushUrl('built');
  expect((await repo.push(url)).code).toBe(0);
  const visitors = new Visitors(rig.httpPort, 'built.localhost', 50);

  await repo.commit({ version: 'two', Dockerfile: slow() });
  const push = startPush(repo, url);
  await push.says('half-way');
  await engine.killContainerd();
  expect((await push.result).stderr).toContain('built v2 is live');
  expect((await rig.request('built')).body).toBe('two');
  await visitors.leave();
  expect(visitors.requests).toBeGreaterThan(100);
  expect(visitors.failures).toEqual([]);
  await expectNothingLeftBehind(rig);
});

test('during a build of an app whose releases cannot run side by side: the new one is started once it is back', async () => {
  await using repo = await appRepository('page', { version: 'one' });
  const url = await rig.pushUrl('alone');
  expect((await repo.push(url)).code).toBe(0);
  expect((await rig.gantry('volumes', 'add', 'alone', 'notes:/data')).code).toBe(0);

  await repo.commit({ version: 'two', Dockerfile: slow() });
  const push = startPush(repo, url);
  await push.says('half-way');
  await engine.killContainerd();
  expect((await push.result).stderr).toContain('alone v2 is live');
  expect((await rig.request('alone')).body).toBe('two');
  await expectNothingLeftBehind(rig);
});

test('while a candidate becomes healthy: it goes live, and no visit fails', async () => {
  await using repo = await appRepository('page', { version: 'one' });
  const url = await rig.pushUrl('candidate');
  expect((await repo.push(url)).code).toBe(0);
  const visitors = new Visitors(rig.httpPort, 'candidate.localhost', 50);

  // It answers while containerd is away.
  const late = 'CMD ["sh","-c","sleep 3; exec httpd -f -p 8080 -h /www"]\n';
  await repo.commit({ version: 'two', Dockerfile: page().replace(/CMD.*\n/, late) });
  const push = startPush(repo, url);
  await push.says('Starting v2');
  const label = ['gantry.app=candidate', 'gantry.release=2'];
  await until(
    'it runs',
    async () => (await engine.docker.listContainers({ filters: { label } })).length === 1,
  );
  await sleep(1000); // its health is asked for by now
  await engine.killContainerd();
  expect((await push.result).stderr).toContain('candidate v2 is live');
  await visitors.leave();
  expect(visitors.failures).toEqual([]);
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
