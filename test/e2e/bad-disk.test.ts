import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { fillDisk, fillInodes, makeReadOnly, mountSmallDisk } from '../chaos/small-disk.ts';
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
