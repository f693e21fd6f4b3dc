import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { appRepository, Rig } from '../support/rig.ts';
import { Visitors } from '../support/visitor.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '10', GANTRY_KEEP_RELEASES: '2' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

async function envOf(app: string): Promise<Record<string, string>> {
  return JSON.parse((await rig.request(app, '/env')).body) as Record<string, string>;
}

async function tagsOf(app: string): Promise<string[]> {
  const label = [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`];
  const images = await localDocker().listImages({ filters: { label } });
  return images.flatMap(({ RepoTags }) => RepoTags ?? []);
}

function versions(tags: readonly string[]): string[] {
  return tags.map((tag) => /:(v\d+)-/.exec(tag)?.[1] ?? tag).sort();
}

describe('gantry restart', () => {
  test('gives the live release new containers with the variables of now, without a build and a failed request', async () => {
    await using repo = await appRepository('web');
    await rig.setEnv('again', { CC_PRE_BUILD_HOOK: 'echo building', CC_PRE_RUN_HOOK: 'echo about to run' });
    expect((await repo.push(await rig.pushUrl('again'))).code).toBe(0);
    await rig.setEnv('again', { COLOUR: 'green' });
    expect((await envOf('again')).COLOUR).toBeUndefined();

    const visitors = new Visitors(rig.httpPort, 'again.localhost', 100);
    const restart = await rig.gantry('restart', '--app', 'again');
    await visitors.leave();
    expect(restart.stdout).toMatch(/Deploy #2 of again: [0-9a-f]{7} "An app: web", restarted/);
    expect(restart.stdout).toContain('about to run');
    expect(restart.stdout).not.toMatch(/building|Building/);
    expect(restart.stdout).toContain('again v2 is live');
    expect(restart.code).toBe(0);
    expect(visitors.failures).toEqual([]);
    expect(await envOf('again')).toMatchObject({ COLOUR: 'green', INSTANCE_ID: 'again-v2-0' });

    // Its image is kept for as long as the last release made of it, not only as long as the one that built it.
    for (const number of [3, 4, 5]) {
      const next = await rig.gantry('restart', '--app', 'again');
      expect(next.stdout).toContain(`again v${number} is live`);
    }
    await expect.poll(async () => tagsOf('again').then(versions), { timeout: 10_000 }).toEqual(['v4', 'v5']);
    // The branch is where it was.
    await repo.commit({ version: 'two' });
    expect((await repo.push(await rig.pushUrl('again'))).code).toBe(0);
  });

  test('of an app that has nothing live, or whose image is gone, says what to do', async () => {
    await rig.setEnv('empty', {});
    const nothing = await rig.gantry('restart', '--app', 'empty');
    expect(nothing.stderr).toContain('empty has nothing live to restart');
    expect(nothing.code).not.toBe(0);

    await using repo = await appRepository('web');
    expect((await repo.push(await rig.pushUrl('gone'))).code).toBe(0);
    for (const tag of await tagsOf('gone')) await localDocker().getImage(tag).remove({ force: true });
    const gone = await rig.gantry('restart', '--app', 'gone');
    expect(gone.stdout).toContain('its image is gone from the engine');
    expect(gone.stdout).toContain('hint: build it again: gantry redeploy');
    expect(gone.code).toBe(6);
    expect((await rig.request('gone')).body).toBe('one');
  });

  test('answers 202 with the place of the deployment, and can be left to itself', async () => {
    await using repo = await appRepository('web');
    expect((await repo.push(await rig.pushUrl('detached'))).code).toBe(0);
    const detached = await rig.gantry('restart', '--app', 'detached', '--detach');
    expect(detached.stdout).toBe('deploy #2 is queued\n');
    expect((await rig.gantry('logs', '--app', 'detached')).stdout).toContain('detached v2 is live');
    const shown = await rig.api('GET', '/apps/detached/deployments/2');
    expect(JSON.parse(shown.body)).toMatchObject({
      number: 2,
      trigger: 'restart',
      state: 'live',
      by: 'admin',
    });
  });
});

describe('gantry redeploy', () => {
  test('builds the live commit again, from the cache or without it', async () => {
    await using repo = await appRepository('web');
    expect((await repo.push(await rig.pushUrl('rebuilt'))).code).toBe(0);
    const cached = await rig.gantry('redeploy', '--app', 'rebuilt');
    expect(cached.stdout).toMatch(/steps cached[^]*rebuilt v2 is live/);
    expect(cached.code).toBe(0);
    const fresh = await rig.gantry('redeploy', '--app', 'rebuilt', '--no-cache');
    expect(fresh.stdout).not.toContain('cached');
    expect(fresh.stdout).toContain('rebuilt v3 is live');
  });
});

describe('CC_RUN_COMMAND', () => {
  test('runs instead of the image’s command, through its shell', async () => {
    await using repo = await appRepository('web', {
      Dockerfile: 'FROM gantry-test/node:1\nCOPY . /app\nENTRYPOINT ["false"]\n',
    });
    await rig.setEnv('command', {
      CC_RUN_COMMAND: 'cd /app && COLOUR="$INSTANCE_NUMBER blue" exec node server.js',
    });
    const push = await repo.push(await rig.pushUrl('command'));
    expect(push.stderr).toContain('running CC_RUN_COMMAND instead of the command of the image');
    expect(push.code).toBe(0);
    expect((await envOf('command')).COLOUR).toBe('0 blue');
  });

  test('needs a shell in the image', async () => {
    await using repo = await appRepository('web', {
      Dockerfile: 'FROM scratch\nCOPY version /version\n',
    });
    await rig.setEnv('shell-less', { CC_RUN_COMMAND: 'serve' });
    const push = await repo.push(await rig.pushUrl('shell-less'));
    expect(push.stderr).toContain('the image has no sh, which a command given to Gantry is run with');
    expect(push.code).toBe(1);
  });
});
