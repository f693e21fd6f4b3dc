import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { everyFile } from '../support/every-file.ts';
import { watchingProcesses } from '../support/processes.ts';
import { appRepository, Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '10' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

/** Every variable of the app has one of these in its value. */
const canary = 'canary-5e1f';
const variables: Record<string, string> = {
  PLAIN: `${canary}-plain`,
  DATABASE_URL: `postgres://user:${canary}-url@127.0.0.1/db?x=%20`,
  LINES: `-----BEGIN-----\n${canary}-lines/+=\n-----END-----\n`,
  QUOTED: `${canary} "quoted" \\ and 'single'`,
  USED_IN_BUILD: `${canary}-build`,
  CC_DOCKER_LOGIN_USERNAME: 'robot',
  CC_DOCKER_LOGIN_PASSWORD: `${canary}-password`,
  CC_DOCKER_LOGIN_SERVER: '127.0.0.1:1',
};

/** Prints what it can get hold of, in every place where code of the app runs. */
const loud = 'env; echo "$DATABASE_URL"';

test.each(['true', 'false'])(
  'a canary in every variable is in no log, image, command line, database or answer (CC_DOCKER_BUILDX=%s)',
  async (buildx) => {
    const app = `canary-${buildx}`;
    const secret = buildx === 'true' ? '--mount=type=secret,id=USED_IN_BUILD ' : '';
    await using repo = await appRepository('web', {
      Dockerfile: `FROM gantry-test/node:1\nCOPY . /app\nRUN ${secret}cat /run/secrets/* 2>/dev/null; ${loud}\nCMD ["sh","-c","${loud.replaceAll('"', '\\"')}; exec node /app/server.js"]\n`,
    });
    await rig.setEnv(app, {
      ...variables,
      CC_DOCKER_BUILDX: buildx,
      CC_PRE_BUILD_HOOK: loud,
      CC_POST_BUILD_HOOK: loud,
      CC_PRE_RUN_HOOK: loud,
      CC_RUN_SUCCEEDED_HOOK: loud,
      CC_RUN_FAILED_HOOK: loud,
    });
    const [push, commandLines] = await watchingProcesses(repo.push(await rig.pushUrl(app)));
    expect(push.stderr).toMatch(/DATABASE_URL=\(hidden\)/);
    expect(push.code).toBe(0);

    // A start that fails shows the last lines of the container.
    await repo.commit({ 'server.js': 'console.log(process.env); process.exit(3)' });
    const [failed, moreCommandLines] = await watchingProcesses(repo.push(await rig.pushUrl(app)));
    expect(failed.stderr).toMatch(/exited with code 3/);

    const places: Record<string, string> = {
      push: push.stderr,
      'failed push': failed.stderr,
      'command lines': commandLines + moreCommandLines,
      log: (await rig.gantry('logs', '--app', app, '--deploy', '1')).stdout,
      'failed log': (await rig.gantry('logs', '--app', app)).stdout,
      'operator log': (await rig.log()) + rig.output,
      'data folder': await everyFile(rig.dataDir),
      ...(await imagesOf(app)),
    };
    for (const path of [
      `/apps`,
      `/apps/${app}/deployments`,
      `/apps/${app}/deployments/1/logs`,
      '/status',
      '/whoami',
    ])
      places[`GET ${path}`] = (await rig.api('GET', path)).body;
    const seen = Object.keys(places).filter((place) => (places[place] ?? '').includes(canary));
    expect(seen).toEqual([]);
    expect(places['image files']?.length).toBeGreaterThan(1_000_000);

    // The values did arrive where they belong.
    expect((await rig.request(app, '/env')).body).toContain(`${canary}-plain`);
  },
);

test('an argument that the Dockerfile declares is in the history of its image, and a warning says so', async () => {
  await using repo = await appRepository('web', {
    Dockerfile:
      'FROM gantry-test/node:1\nARG API_TOKEN\nRUN true\nCOPY . /app\nCMD ["node","/app/server.js"]\n',
  });
  await rig.setEnv('declared', { API_TOKEN: `${canary}-token` });
  const push = await repo.push(await rig.pushUrl('declared'));
  expect(push.stderr).toMatch(/warning: ARG API_TOKEN leaves its value in the history/);
  expect(push.stderr).not.toContain(canary);
  expect((await imagesOf('declared'))['image history']).toContain(`${canary}-token`);
});

/** What the engine keeps of an app's images: what it tells about them, their history, and every byte of their layers. */
async function imagesOf(app: string): Promise<Record<string, string>> {
  const docker = localDocker();
  const images = await docker.listImages({
    filters: { label: [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`] },
  });
  const found: Record<string, string> = { 'image config': '', 'image history': '', 'image files': '' };
  for (const { Id } of images) {
    const image = docker.getImage(Id);
    found['image config'] += JSON.stringify(await image.inspect());
    found['image history'] += JSON.stringify(await image.history());
    for await (const chunk of await image.get()) found['image files'] += (chunk as Buffer).toString('latin1');
  }
  return found;
}
