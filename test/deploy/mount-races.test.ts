import { expect, test } from 'vitest';
import { despiteMountRaces } from '../../src/deploy/hook-host.ts';

const gone = `bwrap: Can't bind mount /oldroot/ on /newroot/: Unable to apply mount flags: remount "/newroot/run/x": Invalid argument`;

/** Makes what is said, one after the other. */
async function outcomeOf(...made: string[]): Promise<{ outcome: string; made: number }> {
  let count = 0;
  const make = async (): Promise<string> => made[count++] ?? 'works';
  return { outcome: await despiteMountRaces(make, (one) => one), made: count };
}

test('a sandbox is made again when a mount of somebody else went away', async () => {
  expect(await outcomeOf(gone, gone, 'works')).toEqual({ outcome: 'works', made: 3 });
});

test('it is not when something else is wrong, nor for ever', async () => {
  expect(await outcomeOf('bwrap: no permissions')).toEqual({ outcome: 'bwrap: no permissions', made: 1 });
  expect(await outcomeOf(...Array<string>(50).fill(gone))).toEqual({ outcome: gone, made: 11 });
});
