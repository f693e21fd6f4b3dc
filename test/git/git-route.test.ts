import { describe, expect, it } from 'vitest';
import { parseAppName } from '../../src/domain/app.ts';
import { parseGitRoute } from '../../src/git/git-route.ts';

describe('git routes', () => {
  it.each([
    ['/shop.git/info/refs?service=git-upload-pack', 'shop', 'upload-pack', 'GET'],
    ['/shop/info/refs?service=git-receive-pack', 'shop', 'receive-pack', 'GET'],
    ['/shop.git/git-upload-pack', 'shop', 'upload-pack', 'POST'],
    ['/shop/git-receive-pack', 'shop', 'receive-pack', 'POST'],
  ])('%s', (url, name, service, method) => {
    expect(parseGitRoute(url)).toEqual({ name, service, method });
  });

  it.each([
    '/',
    '/shop.git',
    '/shop.git/',
    '/shop.git/HEAD',
    '/shop.git/config',
    '/shop.git/info/refs',
    '/shop.git/objects/info/alternates',
    '/shop.git/objects/info/refs?service=git-upload-pack',
    '/shop.git/info/refs?service=git-upload-archive',
    '/shop.git/info/refs?service=git-receive-pack&service=git-upload-pack',
    '/shop.git/info/refs?SERVICE=git-upload-pack',
    '/shop.git/info/refs?service=%67it-upload-pack',
    '/shop.git/info/refs?service=git-upload-pack&x=1',
    '/shop.git/git-receive-pack?service=git-upload-pack',
    '/shop.git/git-receive-pack/',
    '/shop.git/git-receive-pack\n',
    '//shop.git/git-receive-pack',
    '/./shop.git/info/refs?service=git-upload-pack',
    '/../shop.git/info/refs?service=git-upload-pack',
    '/a/b.git/info/refs?service=git-upload-pack',
    '/shop.git\\/info/refs?service=git-upload-pack',
    '/shop.git/../other.git/info/refs?service=git-upload-pack',
    'http://host/shop.git/info/refs?service=git-upload-pack',
    'http://[/shop/info/refs?service=git-upload-pack',
    `/${'x'.repeat(300)}.git/info/refs?service=git-upload-pack`,
    'shop.git/info/refs?service=git-upload-pack',
  ])('%j is not one', (url) => {
    expect(parseGitRoute(url)).toBeUndefined();
  });

  it.each([
    '..',
    '%2e%2e',
    '..%2fother',
    'Shop',
    'a b',
    '$(id)',
    '`id`',
    'a;b',
    "a'b",
    '-x',
    '.git',
    'a_b',
    '%00',
    'api',
  ])('%j is no app', (name) => {
    expect(parseAppName(parseGitRoute(`/${name}/git-receive-pack`)?.name ?? '')).toBeUndefined();
  });
});
