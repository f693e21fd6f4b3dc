import { expect, test } from 'vitest';
import { type DrainSteps, drainSlot } from '../../src/router/drain-slot.ts';
import type { Slot } from '../../src/router/slots.ts';

const draining: Slot = { use: 'draining', address: '10.0.0.1', port: 80 };

/** Counts are given out one after the other, the last one for ever; `?` is a poll that fails. */
function drainOf(counts: readonly (number | '?')[], options: Partial<DrainSteps> = {}) {
  const log: string[] = [];
  let asked = 0;
  const result = drainSlot({
    limitMs: 5_000,
    signal: new AbortController().signal,
    current: () => draining,
    inFlight: async () => {
      const count = counts[Math.min(asked, counts.length - 1)];
      asked += 1;
      log.push(String(count));
      if (count === '?' || count === undefined) throw new Error('no reply');
      return count;
    },
    cut: async () => {
      log.push('cut');
    },
    free: async () => {
      log.push('free');
    },
    ...options,
  });
  return result.then((outcome) => [...log, outcome].join(' '));
}

test.each([
  ['two zeros in a row', [0], '0 0 idle'],
  ['work that ends', [2, 1, 0], '2 1 0 0 idle'],
  ['a zero in between', [0, 1, 0], '0 1 0 0 idle'],
  ['no answer is not zero', ['?', '?', '?', 0], '? ? ? 0 0 idle'],
  ['no answer breaks a row', [0, '?', 0], '0 ? 0 0 idle'],
] as const)('%s', async (_, counts, expected) => {
  expect(await drainOf(counts)).toBe(expected.replace('idle', 'free idle'));
});

test.each([
  ['work that never ends', [1]],
  ['no answer for ever', ['?']],
] as const)('%s is cut at the limit, and then freed', async (_, counts) => {
  const log = await drainOf(counts, { limitMs: 50 });
  expect(log).toMatch(/^(\S )+cut (\S )+free cut$/);
  expect(log).not.toContain('0');
});

test('a slot somebody else has freed is idle', async () => {
  expect(await drainOf([1], { current: () => ({ use: 'free' }) })).toBe('idle');
  expect(await drainOf([1], { current: () => undefined })).toBe('idle');
});

test('a live slot is not drained', async () => {
  const live = { ...draining, use: 'live' } as const;
  await expect(drainOf([0], { current: () => live })).rejects.toThrow('10.0.0.1:80 is live');
});

test('an abort ends the wait with its reason and frees nothing', async () => {
  const abort = new AbortController();
  const drained = drainOf([1], { signal: abort.signal, free: () => expect.fail('freed') });
  abort.abort(new Error('enough'));
  await expect(drained).rejects.toThrow('enough');
});
