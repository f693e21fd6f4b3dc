import { describe, expect, test } from 'vitest';
import { makeNetwork } from '../../src/deploy/app-network.ts';
import { subnetAt, subnetIndex } from '../../src/deploy/container-spec.ts';
import { subnetsOverlap } from '../../src/domain/subnet.ts';

const range = '10.213.0.0/16';

/** Of somebody else on the same engine, which refuses what overlaps them. */
function engineWith(others: readonly string[]) {
  const asked: string[] = [];
  const made = makeNetwork(
    async (taken) => {
      const refused = new Set(taken.map(subnetIndex));
      let index = 0;
      while (refused.has(index)) index += 1;
      return subnetAt(range, index);
    },
    async (subnet) => {
      asked.push(subnet);
      return !others.some((other) => subnetsOverlap(other, subnet));
    },
    async () => others,
  );
  return { made, asked };
}

describe('the range for a network', () => {
  test('is the first one when nobody has it', async () => {
    const { made, asked } = engineWith([]);
    expect(await made).toBe('10.213.0.0/28');
    expect(asked).toEqual(['10.213.0.0/28']);
  });

  test('is behind those of another Gantry, however many they are, and the engine is not asked about each', async () => {
    const others = Array.from({ length: 1000 }, (_, index) => subnetAt(range, index));
    const { made, asked } = engineWith([...others, '172.17.0.0/16', 'fd00::/64']);
    expect(await made).toBe(subnetAt(range, 1000));
    expect(asked).toHaveLength(2);
  });

  test('cannot be had when a network has all of them, and that is said', async () => {
    const { made, asked } = engineWith(['10.213.0.0/16']);
    await expect(made).rejects.toThrow('GANTRY_SUBNETS overlaps other networks');
    expect(asked).toHaveLength(1);
  });

  test('a store that has given away all of them says so', () => {
    expect(() => subnetAt(range, 4096)).toThrow('all 4096 networks');
  });
});
