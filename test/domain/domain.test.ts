import { expect, test } from 'vitest';
import { hostOf, parseDomain } from '../../src/domain/domain.ts';

test.each([
  ['shop.example.com', 'shop.example.com'],
  ['Shop.example.com./', 'shop.example.com'],
  [' shop.example.com/API/v1/ ', 'shop.example.com/api/v1'],
  ['bücher.example/a-b_c.d~1', 'xn--bcher-kva.example/a-b_c.d~1'],
  ['a.example/..a/...', 'a.example/..a/...'],
])('%j is %s', (text, domain) => {
  expect(parseDomain(text)).toBe(domain);
});

test.each([
  ['https://shop.example.com/api', /URL/],
  ['shop.example.com/api?x=1', /URL/],
  ['shop.example.com/#top', /URL/],
  ['ana@example.com/api', /URL/],
  ['//example.com', /no host name/],
  ['/api', /no host name/],
  ['localhost/api', /two parts/],
  ['*.example.com/api', /wildcards/],
  ['a.example:80/api', /no port/],
  ['a.example//', /no empty parts/],
  ['a.example/api//v1', /no empty parts/],
  ['a.example/api/../x', /without \. and \.\./],
  ['a.example/./x', /without \. and \.\./],
  ['a.example/api/*', /no wildcards/],
  ['a.example/%2e%2e', /percent/],
  ['a.example/a b', /letters, digits/],
  ['a.example/a;b', /letters, digits/],
  ['a.example/ü', /letters, digits/],
  ['a.example/a\nb', /letters, digits/],
  ['a.example/a\\b', /letters, digits/],
  [`a.example/${'a'.repeat(128)}`, /at most 128/],
])('%j: %s', (text, problem) => {
  expect(parseDomain(text)).toMatchObject({ problem: expect.stringMatching(problem) as string });
});

test('the host of a domain is what comes before its path', () => {
  const [whole, part] = [parseDomain('a.example'), parseDomain('a.example/b/c')];
  expect([whole, part].map((domain) => typeof domain === 'string' && hostOf(domain))).toEqual([
    'a.example',
    'a.example',
  ]);
});
