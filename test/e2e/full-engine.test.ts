import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { baseImage } from '../support/base-image.ts';
import { page } from '../support/dockerfiles.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { OwnEngine } from '../support/own-engine.ts';
import { appRepository, Rig } from '../support/rig.ts';
import { startPush } from '../support/started-push.ts';

/** The engine has a disk of its own, as with a data-root elsewhere, which builds fill although there was room before. */
let engine: OwnEngine;
let rig: Rig;
beforeAll(async () => {
  engine = await OwnEngine.start({ images: [baseImage], diskBytes: 150 * 1024 ** 2 });
  const settings = { GANTRY_HEALTH_TIMEOUT: '10', GANTRY_STOP_TIMEOUT: '1', GANTRY_DISK_FLOOR: '50M' };
  rig = await Rig.start(settings, engine);
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await engine?.[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

async function live(app: string) {
  const repo = await appRepository('page', { version: 'one' });
  const url = await rig.pushUrl(app);
  const push = await repo.push(url);
  if (push.code !== 0) throw new Error(push.stderr);
  return { repo, url };
}

/** What served does, and the next push works at once. */
async function expectAllWell({ repo, url }: Awaited<ReturnType<typeof live>>, app: string): Promise<void> {
  expect((await rig.request(app)).body).toBe('one');
  await repo.commit({ version: 'again', Dockerfile: page() });
  expect((await repo.push(url)).stderr).toContain(`${app} v3 is live`);
  expect((await rig.request(app)).body).toBe('again');
  await expectNothingLeftBehind(rig);
}

test('by a command of the Dockerfile: its exit code and last lines say so', async () => {
  const app = await live('command');
  await using _ = app.repo;
  const large = 'RUN head -c 300000000 /dev/zero >/large';
  await app.repo.commit({ version: 'two', Dockerfile: page(large) });
  const push = await app.repo.push(app.url);
  expect(push.code).toBe(1);
  expect(push.stderr).toContain(`${large} exited with code 1`);
  await expectAllWell(app, 'command');
});

const full = 'the disk of the Docker engine is full; free space there: docker system prune';

test.each([
  ['buildkit', {}],
  ['legacy', { CC_DOCKER_BUILDX: 'false' }],
])('by the files of the repository (%s): says so, and what they took is free again', async (name, env) => {
  const app = await live(name);
  await using _ = app.repo;
  await rig.setEnv(name, env);
  await app.repo.commit({
    version: 'two',
    large: randomBytes(200_000_000),
    Dockerfile: page('COPY large /'),
  });
  const push = await app.repo.push(app.url);
  expect(push.code).toBe(1);
  expect(push.stderr).toContain(`deploy #2 failed in build: ${full}`);
  await app.repo.commit({ large: '' });
  await expectAllWell(app, name);
});

test('between a build and its start: says so', async () => {
  const app = await live('start');
  await using _ = app.repo;
  await rig.setEnv('start', { CC_PRE_RUN_HOOK: 'echo half-way; sleep 3' });
  await app.repo.commit({ version: 'two' });
  const push = startPush(app.repo, app.url);
  await push.says('half-way');
  const fill = join(engine.dataDir, 'fill');
  await engine.run('sh', '-c', `head -c 300000000 /dev/zero >${fill} || true`);
  const end = await push.result;
  await engine.run('rm', fill);
  expect(end.code).toBe(1);
  expect(end.stderr).toContain(`deploy #2 failed in start: ${full}`);
  await expectAllWell(app, 'start');
});
