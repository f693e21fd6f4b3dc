import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { fillDisk, fillInodes, makeReadOnly, mountSmallDisk } from '../chaos/small-disk.ts';
import { failSyncs } from '../support/failing-syncs.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { appRepository, Rig, until } from '../support/rig.ts';

let rig: Rig;
let disk: AsyncDisposable;
let repo: Awaited<ReturnType<typeof appRepository>>;
beforeAll(async () => {
  rig = await Rig.make({ GANTRY_DISK_FLOOR: '16M' });
  disk = await mountSmallDisk(rig.dataDir, 768);
  await rig.start();
  repo = await appRepository('page');
  await repo.push(await rig.pushUrl('shop'));
});
afterAll(async () => {
  await repo?.[Symbol.asyncDispose]();
  await rig?.[Symbol.asyncDispose]().catch(() => {}); // a mount point cannot be removed
  await disk?.[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

async function deployments(): Promise<number> {
  const { body } = await rig.api('GET', '/apps/shop/deployments');
  return (JSON.parse(body) as { deployments: unknown[] }).deployments.length;
}

const ofWhat = 'on the server: df -h and df -i say whether bytes or inodes are used up';

test.each([
  { what: 'has no byte left', harm: fillDisk, reason: 'the disk of the server is full', fix: ofWhat },
  { what: 'has no inode left', harm: fillInodes, reason: 'the disk of the server is full', fix: ofWhat },
  {
    what: 'became read-only',
    harm: makeReadOnly,
    reason: 'the disk of the server is read-only',
    fix: 'on the server: dmesg says why; remount it, or replace the disk',
  },
])(
  'a disk that $what: pushes are told so, what serves goes on, and all is well once it is mended',
  async (trouble) => {
    const { harm, reason, fix, what } = trouble;
    const url = await rig.pushUrl('shop');
    const firstUrl = await rig.pushUrl('newcomer');
    const before = (await rig.request('shop')).body;
    await repo.commit({ version: what });
    {
      await using _harm = await harm(rig.dataDir);
      for (const place of [url, firstUrl]) {
        const refused = await repo.push(place);
        expect(refused.stderr).toContain(
          `remote: ${reason}; running apps are not affected\nremote: hint: ${fix}\n`,
        );
        expect(refused.code).toBe(128);
      }
      expect((await rig.gantry('status')).stdout).toMatch(new RegExp(`^disk +${reason}`, 'm'));
      expect((await rig.request('shop')).body).toBe(before);
    }
    await until('it is ready', async () => (await rig.gantry('status')).code === 0);
    expect((await repo.push(url)).code).toBe(0);
    expect((await rig.request('shop')).body).toBe(what);
  },
);

test('a disk that gives errors when git wants to keep a push: it is refused, and nothing of it is there', async () => {
  const url = await rig.pushUrl('shop');
  const before = (await rig.request('shop')).body;
  await repo.commit({ version: 'with errors' });
  {
    await using _harm = await failSyncs(rig.pid);
    const refused = await repo.push(url);
    expect(refused.stderr).toMatch(/Input\/output error/);
    expect(refused.code).not.toBe(0);
    expect((await rig.request('shop')).body).toBe(before);
  }
  await expectNothingLeftBehind(rig);
  expect((await repo.push(url)).code).toBe(0);
  expect((await rig.request('shop')).body).toBe('with errors');
});

test('a disk that gives errors to Redis: it ends and is started again; pushes are refused meanwhile, or go live, once', async () => {
  const known = await deployments();
  await repo.commit({ version: 'with errors for Redis' });
  const dead = await rig.redisPid();
  {
    await using _harm = await failSyncs(dead);
    expect((await repo.push(await rig.pushUrl('shop'))).stderr).toMatch(
      /success: shop v\d+ is live|the deploy queue is unavailable; running apps are not affected/,
    );
  }
  await until('it is ready', async () => (await rig.gantry('status')).code === 0);
  expect(await rig.redisPid()).not.toBe(dead);
  expect((await repo.push(await rig.pushUrl('shop'))).code).toBe(0);
  expect((await rig.request('shop')).body).toBe('with errors for Redis');
  expect(await deployments()).toBe(known + 1);
});
