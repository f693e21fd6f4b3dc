import { expect, test } from 'vitest';
import { parseDomainName } from '../../src/domain/domain-name.ts';

test.each([
  ['shop.example.com', 'shop.example.com'],
  [' Shop.Example.COM. ', 'shop.example.com'],
  ['bücher.example', 'xn--bcher-kva.example'],
  ['a-b.c1.example', 'a-b.c1.example'],
])('%j is %s', (text, domain) => {
  expect(parseDomainName(text)).toBe(domain);
});

test.each([
  ['ana@example.com', /no host name/],
  ['*.example.com', /wildcards/],
  ['example.com:8080', /no port/],
  ['localhost', /two parts/],
  ['192.168.0.1', /no host name/],
  ['[::1]', /no host name/],
  ['a..b', /no host name/],
  ['-a.example', /no host name/],
  ['a_b.example', /no host name/],
  ['a b.example', /no host name/],
  ['a\nb.example', /no host name/],
  ['a%0ab.example', /no host name/],
  [`${'a'.repeat(64)}.example`, /no host name/],
  [`${'a.'.repeat(130)}example`, /no host name/],
  ['', /no host name/],
])('%j is refused', (text, problem) => {
  const refused = parseDomainName(text);
  expect(typeof refused === 'object' && refused.problem).toMatch(problem);
});
