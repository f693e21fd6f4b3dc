import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { baseImage } from '../support/base-image.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { OwnEngine } from '../support/own-engine.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { startPush } from '../support/started-push.ts';
import { Visitors } from '../support/visitor.ts';

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

function page(...more: string[]): string {
  const serve = 'CMD ["httpd","-f","-p","8080","-h","/www"]\n';
  return [`FROM ${baseImage}`, 'COPY version /www/index.html', ...more, serve].join('\n');
}

const ends = { updated: () => engine.stopDaemon(), killed: () => engine.kill9() };

test.each(['updated', 'killed'] as const)(
  '%s in the middle of a build: no visit fails, and the build begins again',
  async (how) => {
    await using repo = await appRepository('page', { version: 'one' });
    const url = await rig.pushUrl(how);
    expect((await repo.push(url)).code).toBe(0);
    const visitors = new Visitors(rig.httpPort, `${how}.localhost`, 50);

    await repo.commit({
      version: 'two',
      Dockerfile: page(`RUN echo ${randomUUID()} half-$(echo way) && sleep 3`),
    });
    const push = startPush(repo, url);
    await push.says('half-way');
    await ends[how]();
    await engine.startDaemon();
    const end = await push.result;
    expect(end.stderr).toMatch(/warning: the Docker engine restarted during the build; it begins again/);
    expect(end.stderr).toContain(`${how} v2 is live`);
    expect((await rig.request(how)).body).toBe('two');
    await visitors.leave();
    expect(visitors.requests).toBeGreaterThan(100);
    expect(visitors.failures).toEqual([]);
    await expectNothingLeftBehind(rig);
  },
);

test('gone while a candidate becomes healthy: it goes live once the engine is back', async () => {
  await using repo = await appRepository('page', { version: 'one' });
  const url = await rig.pushUrl('candidate');
  expect((await repo.push(url)).code).toBe(0);
  const visitors = new Visitors(rig.httpPort, 'candidate.localhost', 50);

  const late = 'CMD ["sh","-c","sleep 5; exec httpd -f -p 8080 -h /www"]\n';
  await repo.commit({ version: 'two', Dockerfile: page().replace(/CMD.*\n/, late) });
  const push = startPush(repo, url);
  await push.says('Starting v2');
  const label = ['gantry.app=candidate', 'gantry.release=2'];
  await until(
    'it runs',
    async () => (await engine.docker.listContainers({ filters: { label } })).length === 1,
  );
  await sleep(1000); // its health is asked for by now
  await engine.kill9();
  await engine.startDaemon();
  const end = await push.result;
  expect(end.stderr).toContain('candidate v2 is live');
  await visitors.leave();
  expect(visitors.failures).toEqual([]);
  await expectNothingLeftBehind(rig);
});
