import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { appUrl, readConfig, variables } from '../src/config.ts';

describe('settings', () => {
  test('without any, everything has a default', () => {
    expect(readConfig({})).toMatchObject({
      port: 8010,
      httpPort: 8000,
      url: 'http://localhost:8010',
      domain: 'localhost',
      redisUrl: undefined,
    });
  });

  test('are read in their units', () => {
    const config = readConfig({
      GANTRY_HOOK_TIMEOUT: '1.5',
      GANTRY_APP_MEMORY: '1G',
      GANTRY_URL: 'https://deploy.example.com/',
    });
    expect(config).toMatchObject({
      hookTimeoutMs: 1500,
      appMemoryBytes: 1024 ** 3,
      url: 'https://deploy.example.com',
    });
  });

  test('an empty one counts as unset', () => {
    expect(readConfig({ GANTRY_PORT: '', GANTRY_REDIS_URL: '' })).toMatchObject({
      port: 8010,
      redisUrl: undefined,
    });
  });

  test('all that are wrong are named at once, with an example, and so is an unknown one', () => {
    expect(() =>
      readConfig({
        GANTRY_PORT: '99999',
        GANTRY_APP_MEMORY: '1K',
        GANTRY_DOMAIN: 'a b',
        GANTRY_COLOUR: 'red',
      }),
    ).toThrow(
      [
        'GANTRY_COLOUR is not a setting of Gantry',
        'GANTRY_PORT=99999 is not valid, for example GANTRY_PORT=8010',
        'GANTRY_DOMAIN=a b is not valid, for example GANTRY_DOMAIN=apps.example.com',
        'GANTRY_APP_MEMORY=1K is not valid, for example GANTRY_APP_MEMORY=1G',
      ].join('\n'),
    );
  });

  test('the port is left out of an address where browsers know it', () => {
    expect(appUrl({ domain: 'apps.example.com', httpPort: 80 }, 'shop')).toBe('http://shop.apps.example.com');
    expect(appUrl({ domain: 'localhost', httpPort: 8000 }, 'shop')).toBe('http://shop.localhost:8000');
  });

  test('the table in the README has every one of them, with its default', () => {
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
    for (const [name, { fallback, about }] of Object.entries(variables)) {
      const shown =
        name === 'GANTRY_DATA' ? '`/var/lib/gantry` (root)' : fallback === '' ? '' : `\`${fallback}\``;
      expect(readme).toContain(`| \`${name}\` | ${shown} | ${about} |`);
    }
  });
});
