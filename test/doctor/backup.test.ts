import { expect, test } from 'vitest';
import { findingOf } from '../../src/doctor/backup.ts';

const now = new Date('2026-05-04T12:00:00Z');

test.each([
  [0, undefined, 'ok', 'there is nothing to back up yet'],
  [1, undefined, 'warn', 'there never was one'],
  [1, '2026-05-04T01:00:00Z', 'ok', 'the last one is of today (2026-05-04T01:00:00.000Z)'],
  [1, '2026-05-03T01:00:00Z', 'ok', 'the last one is 1 day old (2026-05-03T01:00:00.000Z)'],
  [1, '2026-04-26T01:00:00Z', 'warn', 'the last one is 8 days old'],
])('with %i apps and a backup of %s: %s, %s', (apps, at, state, detail) => {
  expect(findingOf(apps, at === undefined ? undefined : new Date(at), now)).toMatchObject({ state, detail });
});
