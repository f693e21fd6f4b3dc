import { describe, expect, test } from 'vitest';
import {
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

  test.each([
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
    [{ network: 'host', instances: 2 } as const, 'one instance'],
    [{ network: 'host', swap: 'start-first' } as const, 'stop-first'],
  ])('%j is refused', (change, problem) => {
    expect(problemWithAppOptions({ ...options, ...change })).toContain(problem);
  });
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
