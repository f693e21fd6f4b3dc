import { expect, test } from 'vitest';
import { Hints } from '../src/hints.ts';

/** Long beside everything else here. */
const ages = 60_000;

test('a hint ends the wait', async () => {
  const hints = new Hints();
  hints.take();
  const waiting = hints.next(ages);
  hints.give();
  await expect(waiting).resolves.toBeUndefined();
});

test('a hint that came since the round began ends the wait before it begins', async () => {
  const hints = new Hints();
  hints.take();
  hints.give();
  await expect(hints.next(ages)).resolves.toBeUndefined();
});

test('a hint from before the round began does not', async () => {
  const hints = new Hints();
  hints.give();
  hints.take();
  const began = performance.now();
  await hints.next(50);
  expect(performance.now() - began).toBeGreaterThan(40);
});
