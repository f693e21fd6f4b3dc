import { describe, expect, test } from 'vitest';
import { parseRemoteUrl, showRemoteUrl } from '../../src/domain/remote-url.ts';

describe('the URL of a repository elsewhere', () => {
  test.each([
    ['https://forge.example/a/b.git', { protocol: 'https', host: 'forge.example', port: 443 }],
    ['https://forge.example:8443/b', { host: 'forge.example', port: 8443 }],
    ['https://[2001:db8::1]/b', { host: '2001:db8::1' }],
    [
      'git@forge.example:a/b.git',
      { protocol: 'ssh', user: 'git', port: 22, url: 'git@forge.example:a/b.git' },
    ],
    [
      'ssh://git@forge.example:2222/a/b',
      { protocol: 'ssh', port: 2222, url: 'ssh://git@forge.example:2222/a/b' },
    ],
    ['ssh://forge.example/a/b', { user: 'git' }],
  ])('%s', (text, parts) => {
    expect(parseRemoteUrl(text)).toMatchObject(parts);
  });

  test('gives its login away to nobody who reads it', () => {
    const url = parseRemoteUrl('https://ana:p%40ss@forge.example/b.git');
    expect(url).toMatchObject({ user: 'ana', password: 'p@ss', url: 'https://forge.example/b.git' });
    expect(showRemoteUrl('https://ana:p%40ss@forge.example/b.git')).toBe('https://forge.example/b.git');
  });

  test.each([
    ['../lib.git', /only https and ssh/],
    ['http://forge.example/b', /only https and ssh/],
    ['git://forge.example/b', /only https and ssh/],
    ['file:///etc', /only https and ssh/],
    ['/srv/git/b.git', /only https and ssh/],
    ['ext::sh', /only https and ssh/],
    ['ext::sh -c id', /characters/],
    ['-u./x', /only https and ssh/],
    ['https://forge.example/a\r', /characters/],
    ['https://forge.example/a\nb', /characters/],
    ['ssh://-oProxyCommand=id/x', /./],
    ['ssh://git@forge.example/-x', /no usable path/],
    ['ssh://-x@forge.example/x', /account/],
    ['git@-forge:x', /only https and ssh/],
    ['git@forge.example:-x', /only https and ssh/],
    ['https://', /only https and ssh/],
    ['', /characters/],
  ])('is refused: %j', (text, problem) => {
    const refused = parseRemoteUrl(text);
    expect('problem' in refused && refused.problem).toMatch(problem);
  });
});
