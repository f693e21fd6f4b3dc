import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Coalesced } from '../src/coalesced.ts';

/** Work that ends when the test says so. */
function heldWork() {
  const ends: (() => void)[] = [];
  const coalesced = new Coalesced(() => new Promise((resolve) => void ends.push(resolve)));
  return { coalesced, ends };
}

test('beside a run that hangs one more waits, however often it is asked for', async () => {
  const { coalesced, ends } = heldWork();
  void coalesced.run();
  await nextTurn();
  const asked = [coalesced.run(), coalesced.run(), coalesced.run()];
  await nextTurn();
  expect(ends).toHaveLength(1);
  ends[0]?.();
  await nextTurn();
  expect(ends).toHaveLength(2);
  ends[1]?.();
  await Promise.all(asked);
  await nextTurn();
  expect(ends).toHaveLength(2);
});

test('who asks during a run waits for one that began later', async () => {
  const { coalesced, ends } = heldWork();
  const first = coalesced.run();
  await nextTurn();
  let isDone = false;
  const second = coalesced.run().then(() => (isDone = true));
  ends[0]?.();
  await first;
  await nextTurn();
  expect(isDone).toBe(false);
  ends[1]?.();
  await second;
  expect(isDone).toBe(true);
});

test('is settled when what was asked for is over', async () => {
  const { coalesced, ends } = heldWork();
  void coalesced.run();
  let isSettled = false;
  const settled = coalesced.settled().then(() => (isSettled = true));
  await nextTurn();
  expect(isSettled).toBe(false);
  ends[0]?.();
  await settled;
  expect(isSettled).toBe(true);
});
