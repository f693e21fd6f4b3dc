import { describe, expect, test } from 'vitest';
import { parseScope } from '../../src/domain/account.ts';
import { isExpired, parseExpiry, problemWithTokenName } from '../../src/domain/token.ts';

const now = new Date('2030-06-15T12:00:00.000Z');

describe('when a token expires', () => {
  test.each([
    ['90m', '2030-06-15T13:30:00.000Z'],
    ['12h', '2030-06-16T00:00:00.000Z'],
    ['1d', '2030-06-16T12:00:00.000Z'],
    ['2w', '2030-06-29T12:00:00.000Z'],
    ['2030-06-15', '2030-06-15T23:59:59.999Z'],
    ['2030-07-01T08:00Z', '2030-07-01T08:00:00.000Z'],
    ['2030-07-01T08:00:30Z', '2030-07-01T08:00:30.000Z'],
  ])('%s', (text, at) => {
    expect(parseExpiry(text, now)?.toISOString()).toBe(at);
  });

  test.each(['', '0d', '-1d', '1y', '90', '2030-06-14', '2031-02-31', '2030-13-01', 'tomorrow', '99999999d'])(
    'not "%s"',
    (text) => {
      expect(parseExpiry(text, now)).toBeUndefined();
    },
  );

  test('is the first moment it does not work any more', () => {
    expect(isExpired({ expiresAt: now }, now)).toBe(true);
    expect(isExpired({ expiresAt: new Date(now.getTime() + 1) }, now)).toBe(false);
    expect(isExpired({ expiresAt: undefined }, now)).toBe(false);
  });
});

test('scopes are admin, and deploy or read of one app', () => {
  expect(['admin', 'deploy:shop', 'read:shop'].map(parseScope)).toEqual([
    'admin',
    'deploy:shop',
    'read:shop',
  ]);
  const wrong = [
    '',
    'Admin',
    'deploy',
    'deploy:',
    'deploy:*',
    'read:*',
    'write:shop',
    'deploy:Shop',
    'read:a/b',
  ];
  expect(wrong.filter((text) => parseScope(text) !== undefined)).toEqual([]);
});

test('a name is a short line', () => {
  expect(problemWithTokenName("Ana's laptop")).toBeUndefined();
  const wrong = ['', ' a', 'a\nb', 'a\u001b[31m', 'a\u202eb', 'x'.repeat(61)];
  expect(wrong.filter((name) => problemWithTokenName(name) === undefined)).toEqual([]);
});
