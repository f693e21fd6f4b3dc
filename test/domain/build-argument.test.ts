import { expect, test } from 'vitest';
import { isKeptFromBuilds, looksSecret } from '../../src/domain/build-argument.ts';

test.each([
  'NPM_TOKEN',
  'token',
  'DB_PASSWORD',
  'SECRET_KEY_BASE',
  'API_KEY',
  'APIKEY',
  'AUTH',
  'GH_CREDENTIALS',
  'passwd',
])('%s looks like a secret', (name) => {
  expect(looksSecret(name)).toBe(true);
});

test.each([
  'PUBLIC_KEY',
  'NEXT_PUBLIC_TOKEN',
  'KEYBOARD',
  'MONKEY',
  'TOKENIZER',
  'AUTHOR',
  'NODE_VERSION',
  'SECRETARY',
])('%s does not', (name) => {
  expect(looksSecret(name)).toBe(false);
});

test('a login and what steers BuildKit never become build arguments', () => {
  const names = [
    'CC_DOCKER_LOGIN_USERNAME',
    'CC_DOCKER_LOGIN_PASSWORD',
    'BUILDKIT_SYNTAX',
    'CC_DOCKER_LOGIN_SERVER',
    'DB_PASSWORD',
  ];
  expect(names.filter(isKeptFromBuilds)).toEqual(names.slice(0, 3));
});
