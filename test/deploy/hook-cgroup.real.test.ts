import { existsSync } from 'node:fs';
import { mkdir, readlink, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { findCgroupPlace, HookCgroup, sweepCgroups } from '../../src/deploy/hook-cgroup.ts';

test('groups of workers that are gone are swept, but not those of a container, where the number means another process', async () => {
  const place = await findCgroupPlace();
  if (!place) throw new Error('this machine has no cgroups for hooks');
  const namespace = (await readlink('/proc/self/ns/pid')).replace(/\D/g, '');
  const nobody = 2 ** 22 + 1; // more than Linux ever gives
  const gone = join(place.memory, `gantry-hook-${namespace}-${nobody}-1`);
  const elsewhere = join(place.memory, `gantry-hook-1-${nobody}-1`);
  const running = await HookCgroup.make(place, { memoryBytes: 64 * 1024 ** 2, processes: 16 });
  await mkdir(gone);
  await mkdir(elsewhere);
  try {
    await sweepCgroups(place);
    expect(existsSync(gone)).toBe(false);
    expect(existsSync(elsewhere)).toBe(true);
    expect(running.folders.every((folder) => existsSync(folder))).toBe(true);
  } finally {
    await rmdir(elsewhere);
    await running.remove();
    await rm(gone, { recursive: true, force: true });
  }
});
