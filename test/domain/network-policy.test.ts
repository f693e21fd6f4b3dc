import { expect, test } from 'vitest';
import { parseAppName } from '../../src/domain/app.ts';
import { isInternal, parseDomain } from '../../src/domain/domain.ts';
import { planGates } from '../../src/domain/gate.ts';
import { parsePorts, portsText } from '../../src/domain/network-policy.ts';

test.each([
  ['8080', { port: 8080, endPort: 8080 }],
  ['1-1000', { port: 1, endPort: 1000 }],
  ['65535', { port: 65_535, endPort: 65_535 }],
])('%s are ports', (text, range) => {
  expect(parsePorts(text)).toEqual(range);
  expect(portsText(range)).toBe(text);
});

test.each([
  ['', /a number/],
  ['http', /a number/],
  ['80,81', /a number/],
  ['-80', /a number/],
  ['0', /between 1 and 65535/],
  ['65536', /between 1 and 65535/],
  ['90-80', /smallest/],
  ['1-1001', /at most 1000/],
])('%j are none', (text, problem) => {
  expect(parsePorts(text)).toMatchObject({ problem: expect.stringMatching(problem) as string });
});

test('internal host names are those of Cloud Foundry and the short ones, without a path', () => {
  const names = [
    'shop.internal',
    'shop.apps.internal',
    'shop.corp.internal',
    'shop.internal.example',
    'internal',
  ];
  expect(names.filter(isInternal)).toEqual(['shop.internal', 'shop.apps.internal']);
  expect(parseDomain('Shop.internal/')).toBe('shop.internal');
  expect(parseDomain('shop.internal/api')).toEqual({ problem: 'an internal host name has no path' });
});

const app = (name: string) => parseAppName(name) ?? expect.fail(name);
const domain = (name: string) => {
  const parsed = parseDomain(name);
  return typeof parsed === 'string' ? parsed : expect.fail(name);
};

test('there is a gate for each internal host name that somebody may reach, and it knows who may where', () => {
  const [a, b, c] = [app('a'), app('b'), app('c')];
  const rule = (port: number) => ({ protocol: 'tcp' as const, port, endPort: port });
  const names = [
    { domain: domain('c.internal'), app: c },
    { domain: domain('c.apps.internal'), app: c },
    { domain: domain('b.internal'), app: b },
  ];
  const policies = [
    { source: a, destination: c, ...rule(80) },
    { source: a, destination: c, ...rule(81) },
    { source: b, destination: c, ...rule(80) },
    { source: b, destination: a, ...rule(80) },
  ];
  const sources = [
    { app: a, ports: [rule(80), rule(81)] },
    { app: b, ports: [rule(80)] },
  ];
  expect(planGates(policies, names)).toEqual([
    { name: 'c.internal', app: c, sources },
    { name: 'c.apps.internal', app: c, sources },
  ]);
});
