import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { appRepository, Rig, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '10', GANTRY_KEEP_RELEASES: '2' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

type CacheRecord = { Size: number; Shared: boolean };

/** As the engine counts it: without what is part of an image. */
async function cacheBytes(): Promise<number> {
  const usage = (await localDocker().df()) as { BuildCache?: CacheRecord[] | null };
  return (usage.BuildCache ?? []).reduce((sum, { Size, Shared }) => sum + (Shared ? 0 : Size), 0);
}

async function imagesOf(app: string): Promise<string[]> {
  const label = [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`];
  const images = await localDocker().listImages({ filters: { label } });
  return images
    .flatMap(({ RepoTags }) => RepoTags ?? [])
    .map((tag) => /:(v\d+)-/.exec(tag)?.[1] ?? tag)
    .sort();
}

describe('after a deployment', () => {
  test('the images of releases past the kept ones are freed, and its log says which', async () => {
    await using repo = await appRepository('web');
    const url = await rig.pushUrl('few');
    expect((await repo.push(url)).stderr).not.toContain('freed');
    await repo.commit({ version: 'two' });
    expect((await repo.push(url)).stderr).not.toContain('the image');
    await repo.commit({ version: 'three' });
    expect((await repo.push(url)).stderr).toMatch(/^remote: +freed the image of v1\b/m);
    expect(await imagesOf('few')).toEqual(['v2', 'v3']);
    expect((await rig.gantry('restart', '--app', 'few')).stdout).toContain(' freed the image of v2\n');
    expect(await imagesOf('few')).toEqual(['v3', 'v4']);
  });

  test('the build cache is brought down to its budget, and the log says by how much', async () => {
    const budget = (await cacheBytes()) + 10 * 1024 ** 2;
    await using small = await Rig.start({ GANTRY_BUILD_CACHE: String(budget) });
    await using repo = await appRepository('web', {
      'large.bin': randomBytes(60 * 1024 ** 2),
      Dockerfile: `FROM gantry-test/node:1 AS made
COPY large.bin /
FROM gantry-test/node:1
COPY --from=made /etc/passwd /made
COPY server.js version /app/
CMD ["/usr/local/bin/node", "/app/server.js"]
`,
    });
    const push = await repo.push(await small.pushUrl('large'));
    expect(push.code).toBe(0);
    // On an engine with a large cache that takes its time; then the next deployment tells of it.
    let log = push.stderr;
    let freed = Number.NaN;
    await until(
      'the log says so',
      async () => {
        freed = Number(/freed (?:.* and )?(\d+) MiB of build cache/.exec(log)?.[1]);
        if (Number.isNaN(freed)) log = (await small.gantry('restart', '--app', 'large')).stdout;
        return freed > 0;
      },
      100_000,
    );
    expect(freed).toBeGreaterThan(20);
  });
});

describe('on a disk that is nearly full', () => {
  test('nothing is built, and the push says how much is free and what to do; what needs no build goes on', async () => {
    await using repo = await appRepository('web');
    const url = await rig.pushUrl('full');
    expect((await repo.push(url)).code).toBe(0);
    await repo.commit({ version: 'two' });
    expect((await repo.push(url)).code).toBe(0);
    await rig.setEnv('full', { CC_PRE_BUILD_HOOK: 'echo before the build' });

    await rig.stop();
    rig.env.GANTRY_DISK_FLOOR = '900000G';
    await rig.start();
    await repo.commit({ version: 'three' });
    const push = await repo.push(url);
    expect(push.code).toBe(1);
    expect(push.stderr).toMatch(/error: deploy #3 failed in "build" after/);
    expect(push.stderr).toMatch(
      /the disk of the server is nearly full: \d+(\.\d)? [GM]iB free, 900000 GiB needed/,
    );
    expect(push.stderr).toMatch(/ \/\S+ \(images of the Docker engine\): \d+(\.\d)? [GM]iB free/);
    expect(push.stderr).toMatch(/hint: on the server: {2}docker system prune .*GANTRY_DISK_FLOOR/);
    expect(push.stderr).toContain('hint: v2 is still serving');
    expect(push.stderr).not.toMatch(/before the build|Building/);
    expect(await imagesOf('full')).toEqual(['v1', 'v2']);

    expect((await rig.gantry('rollback', '--app', 'full')).code).toBe(0);
    expect((await rig.request('full')).body).toBe('one');
    expect((await rig.gantry('doctor')).stdout).toMatch(/^fail +disk /m);

    await rig.stop();
    rig.env.GANTRY_DISK_FLOOR = '0';
    await rig.start();
    expect((await rig.gantry('deploys', 'retry', '3', '--app', 'full')).code).toBe(0);
    expect((await rig.request('full')).body).toBe('three');
  });
});
