import { describe, expect, test } from 'vitest';
import { isFor, parseRegistryHost } from '../../src/domain/registry-login.ts';

describe('the server of a registry', () => {
  test.each([
    ['ghcr.io', 'ghcr.io'],
    ['Registry.Example.COM', 'registry.example.com'],
    ['registry.example.com:5000', 'registry.example.com:5000'],
    ['127.0.0.1:5000', '127.0.0.1:5000'],
    ['localhost', 'localhost'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
    ['docker.io', 'docker.io'],
    ['index.docker.io', 'docker.io'],
    ['registry-1.docker.io', 'docker.io'],
    ['https://index.docker.io/v1/', 'docker.io'],
  ])('%j is %j', (text, host) => {
    expect(parseRegistryHost(text)).toBe(host);
  });

  test.each([
    '',
    'https://ghcr.io',
    'ghcr.io/team',
    'ghcr.io/',
    'user@ghcr.io',
    'user:password@ghcr.io',
    'ghcr.io?x',
    'ghcr.io#x',
    'a b',
    'ghcr.io ',
    'ghcr.io\n',
    'a;b',
    '$(id)',
    '`id`',
    '-flag',
    'a-.example',
    'a..b',
    '.a',
    'a.',
    'a_b',
    'exämple.com',
    '[::1]:5000',
    'a:',
    'a:0',
    'a:65536',
    'a:5000:5000',
    `${'a'.repeat(64)}.com`,
    'a.'.repeat(130),
  ])('%j is refused', (text) => {
    expect(parseRegistryHost(text)).toBeUndefined();
  });
});

describe('a login', () => {
  const login = (host: string) => ({ host, username: 'u', password: 'p' });

  test.each([
    ['ghcr.io', 'ghcr.io'],
    ['ghcr.io', 'GHCR.io'],
    ['docker.io', 'registry-1.docker.io'],
    ['docker.io', 'https://index.docker.io/v1/'],
  ])('at %s is for %s', (host, asking) => {
    expect(isFor(login(host), asking)).toBe(true);
  });

  test.each([
    ['ghcr.io', 'evil.ghcr.io'],
    ['ghcr.io', 'ghcr.io.evil.com'],
    ['ghcr.io', 'ghcr.io:8080'],
    ['ghcr.io:8080', 'ghcr.io'],
    ['ghcr.io', 'docker.io'],
    ['docker.io', 'hub.docker.io'],
    ['docker.io', 'docker.com'],
    ['ghcr.io', ''],
    ['ghcr.io', 'https://ghcr.io'],
  ])('at %s is not for %j', (host, asking) => {
    expect(isFor(login(host), asking)).toBe(false);
  });
});
