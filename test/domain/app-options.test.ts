import { describe, expect, test } from 'vitest';
import {
  type AppOptions,
  parseExtraHost,
  parseMemory,
  problemWithAppOptions,
  problemWithVolume,
  readAppOptions,
  showMemory,
  swapOrder,
} from '../../src/domain/app-options.ts';

const options = readAppOptions(undefined);

describe('options of an app', () => {
  test('are the default where nothing is stored, and stay readable when one is added', () => {
    expect(options).toMatchObject({ instances: 1, network: 'bridge', dockerSocket: false, volumes: [] });
    expect(readAppOptions('')).toEqual(options);
    expect(readAppOptions('{"instances":3}')).toEqual({ ...options, instances: 3 });
    expect(problemWithAppOptions(options)).toBeUndefined();
  });

  const refused: [Partial<AppOptions>, string][] = [
    [{ instances: 0 }, '1 to 6 instances'],
    [{ instances: 7 }, '1 to 6 instances'],
    [{ instances: 1.5 }, '1 to 6 instances'],
    [{ cpus: 0 }, 'cores'],
    [{ cpus: Number.NaN }, 'cores'],
    [{ port: 0 }, 'from 1 to 65535'],
    [{ port: 65_536 }, 'from 1 to 65535'],
    [{ command: '  ' }, 'characters'],
    [{ endpoint: 'healthz' }, 'a path'],
    [{ endpoint: '//elsewhere' }, 'a path'],
    [{ startSeconds: 601 }, '1 to 600 seconds'],
    [{ network: 'host', dockerNetworks: ['db'] }, 'no other'],
    ...['', '-v', 'a b', 'gantry-1/x', '../up', 'x'.repeat(200)].map(
      (name): [Partial<AppOptions>, string] => [{ dockerNetworks: [name] }, 'no name of a Docker network'],
    ),
    [{ dockerNetworks: ['host'] }, 'besides its own'],
    [{ dockerNetworks: ['gantry-a1b2c3-shop'] }, 'theirs alone'],
    [{ dockerNetworks: Array.from({ length: 11 }, (_, index) => `n${index}`) }, 'at most 10'],
    ...[
      'db',
      ':10.0.0.5',
      'a b:10.0.0.5',
      '-x:10.0.0.5',
      '10.0.0.1:10.0.0.5',
      'a..b:10.0.0.5',
      'db\n:1.2.3.4',
    ].map((text): [Partial<AppOptions>, string] => [{ extraHosts: [parseExtraHost(text)] }, 'name:address']),
    ...['db:', 'db:10.0.0', 'db:10.0.0.5 evil', 'db:host', 'db:fe80::1%eth0', 'db:10.0.0.5\n1.1.1.1 x'].map(
      (text): [Partial<AppOptions>, string] => [{ extraHosts: [parseExtraHost(text)] }, 'the address of db'],
    ),
    [{ network: 'host', instances: 2 }, 'one instance'],
    [{ network: 'host', swap: 'start-first' }, 'stop-first'],
  ];
  test.each(refused)('%j is refused', (change, problem) => {
    expect(problemWithAppOptions({ ...options, ...change })).toContain(problem);
  });
});

test.each([
  ['db.internal:10.0.0.5', { name: 'db.internal', address: '10.0.0.5' }],
  ['six:2001:db8::1', { name: 'six', address: '2001:db8::1' }],
  ['six:[2001:db8::1]', { name: 'six', address: '2001:db8::1' }],
  ['the_host:host-gateway', { name: 'the_host', address: 'host-gateway' }],
])('%s is an entry for hosts', (text, host) => {
  expect(parseExtraHost(text)).toEqual(host);
  expect(problemWithAppOptions({ ...options, extraHosts: [host] })).toBeUndefined();
});

describe('sizes of memory', () => {
  test.each([
    ['512M', 536_870_912, '512M'],
    ['512mb', 536_870_912, '512M'],
    ['1.5G', undefined, ''],
    ['1536MiB', 1_610_612_736, '1.5G'],
    ['2G', 2_147_483_648, '2G'],
    ['6291456', 6_291_456, '6M'],
    ['5M', undefined, ''],
    ['', undefined, ''],
    ['-1M', undefined, ''],
    ['lots', undefined, ''],
  ])('%j', (text, bytes, shown) => {
    expect(parseMemory(text)).toBe(bytes);
    expect(bytes === undefined ? '' : showMemory(bytes)).toBe(shown);
  });
});

describe('a swap', () => {
  const data = { volumes: [{ name: 'data', path: '/data' }] };
  test.each([
    [{}, 'start-first'],
    [data, 'stop-first'],
    [{ ...data, swap: 'start-first' } as const, 'start-first'],
    [{ swap: 'stop-first' } as const, 'stop-first'],
    [{ network: 'host' } as const, 'stop-first'],
  ])('with %j is %s', (change, order) => {
    expect(swapOrder({ ...readAppOptions(undefined), ...change }).order).toBe(order);
  });
});

describe('a volume', () => {
  test.each(['/data', '/var/lib/app-1', '/development', '/srv/ü'])('can be at %s', (path) => {
    expect(problemWithVolume({ name: 'data', path })).toBeUndefined();
  });

  test.each([
    '',
    'data',
    '/',
    '/a//b',
    '/a/',
    '/a/./b',
    '/../etc',
    '/a:b',
    '/a\nb',
    '/proc',
    '/sys/fs',
    '/dev/shm',
  ])('cannot be at %j', (path) => {
    expect(problemWithVolume({ name: 'data', path })).toBeDefined();
  });

  test.each(['', 'Data', 'a.b', '-a', 'a-', 'a'.repeat(41), 'a b'])('cannot be called %j', (name) => {
    expect(problemWithVolume({ name, path: '/data' })).toBeDefined();
  });
});
