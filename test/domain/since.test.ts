import { expect, test } from 'vitest';
import { parseSince } from '../../src/domain/since.ts';

const now = new Date('2030-06-15T12:00:00Z');

test.each([
  ['90s', '2030-06-15T11:58:30.000Z'],
  ['10m', '2030-06-15T11:50:00.000Z'],
  ['2h', '2030-06-15T10:00:00.000Z'],
  ['1d', '2030-06-14T12:00:00.000Z'],
  ['2030-06-01', '2030-06-01T00:00:00.000Z'],
  ['2030-06-01T10:00Z', '2030-06-01T10:00:00.000Z'],
  ['2030-06-01T10:00:00.5+02:00', '2030-06-01T08:00:00.500Z'],
])('%s is a moment', (text, moment) => {
  expect(parseSince(text, now)?.toISOString()).toBe(moment);
});

test.each(['', '10', '10 m', 'noon', '-5m', '2030-13-01', '1w'])('"%s" is none', (text) => {
  expect(parseSince(text, now)).toBeUndefined();
});
