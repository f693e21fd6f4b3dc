import { describe, expect, test } from 'vitest';
import { bridgeAddress, freeAddress, subnetAt, subnetIndex } from '../../src/deploy/container-spec.ts';

describe('addresses', () => {
  test('each app has sixteen of its own', () => {
    expect([0, 1, 15, 16, 4095].map((index) => subnetAt('10.213.0.0/16', index))).toEqual([
      '10.213.0.0/28',
      '10.213.0.16/28',
      '10.213.0.240/28',
      '10.213.1.0/28',
      '10.213.255.240/28',
    ]);
    for (const index of [0, 7, 16, 300, 4095])
      expect(subnetIndex(subnetAt('10.213.0.0/16', index))).toBe(index);
  });

  test('go round, so that a freed one is not the next one; network, bridge and broadcast are never given', () => {
    const given = Array.from({ length: 13 }, (_, start) => freeAddress('10.0.0.16/28', [], start));
    expect(new Set(given).size).toBe(13);
    expect(given[0]).toBe('10.0.0.18');
    expect(given.at(-1)).toBe('10.0.0.30');
    expect(freeAddress('10.0.0.16/28', [], 13)).toBe('10.0.0.18');
  });

  test('in use are stepped over, and when all are there is none', () => {
    expect(freeAddress('10.0.0.0/28', ['10.0.0.3', '10.0.0.4'], 1)).toBe('10.0.0.5');
    const all = Array.from({ length: 13 }, (_, index) => `10.0.0.${index + 2}`);
    expect(freeAddress('10.0.0.0/28', all, 5)).toBeUndefined();
  });

  test('of a container tell where the requests of the router come from', () => {
    expect(bridgeAddress('10.213.4.20')).toBe('10.213.4.17');
    expect(bridgeAddress('10.213.4.14')).toBe('10.213.4.1');
  });
});
