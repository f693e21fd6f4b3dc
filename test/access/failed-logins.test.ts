import { expect, test } from 'vitest';
import { FailedLogins } from '../../src/access/failed-logins.ts';

function clocked(capacity?: number) {
  const clock = { ms: 0 };
  const logins = new FailedLogins({ now: () => clock.ms, ...(capacity && { capacity }) });
  const fail = (...sources: string[]): number => {
    const wait = logins.admit(sources);
    if (wait === 0) logins.settle(sources, true);
    return wait;
  };
  return { clock, logins, fail };
}

test('five failures are free, then each doubles the wait, up to a minute', () => {
  const { clock, fail } = clocked();
  const waits: number[] = [];
  for (let failures = 0; failures < 12; ) {
    const wait = fail('a');
    if (wait === 0) failures++;
    else waits.push(wait);
    clock.ms += wait;
  }
  expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000]);
});

test('others do not wait', () => {
  const { fail, logins } = clocked();
  for (let i = 0; i < 5; i++) fail('address a', `token ${i}`);
  expect(logins.admit(['address a', 'token 9'])).toBe(1000);
  expect(logins.admit(['address b', 'token 9'])).toBe(0);
});

test('either of address and token is enough to wait for', () => {
  const { fail, logins } = clocked();
  for (let i = 0; i < 5; i++) fail(`address ${i}`, 'token t');
  expect(logins.admit(['address 7', 'token t'])).toBe(1000);
});

test('one at a time is tried when the wait is over', () => {
  const { clock, fail, logins } = clocked();
  for (let i = 0; i < 5; i++) fail('a');
  clock.ms += 1000;
  expect(logins.admit(['a'])).toBe(0);
  expect(logins.admit(['a'])).toBe(1000);
  logins.settle(['a'], false);
  expect(logins.admit(['a'])).toBe(0);
});

test('of those that come at once, before any has failed, a hundred are tried', () => {
  const { logins } = clocked();
  const waits = Array.from({ length: 300 }, (_, number) => logins.admit(['a', `token ${number}`]));
  expect(waits.filter((wait) => wait === 0)).toHaveLength(100);
  logins.settle(['a', 'token 0'], false);
  expect(logins.admit(['a', 'token 300'])).toBe(0);
});

test('success forgives nothing, a quarter of an hour does', () => {
  const { clock, fail, logins } = clocked();
  for (let i = 0; i < 4; i++) fail('a');
  expect(logins.admit(['a'])).toBe(0);
  logins.settle(['a'], false);
  expect(fail('a')).toBe(0);
  expect(fail('a')).toBe(1000);
  clock.ms += 15 * 60_000;
  for (let i = 0; i < 5; i++) expect(fail('a')).toBe(0);
});

test('memory is bounded, and who failed last is remembered', () => {
  const { fail, logins } = clocked(100);
  for (let i = 0; i < 10_000; i++) fail(`address ${i}`);
  expect(logins.size).toBe(100);
  for (let i = 0; i < 4; i++) fail('address 9999');
  expect(logins.admit(['address 9999'])).toBe(1000);
});
