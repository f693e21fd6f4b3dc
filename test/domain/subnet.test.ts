import { expect, it } from 'vitest';
import { subnetsOverlap } from '../../src/domain/subnet.ts';

it.each([
  ['10.0.0.0/28', '10.0.0.0/28', true],
  ['10.0.0.0/28', '10.0.0.16/28', false],
  ['10.0.0.0/8', '10.200.3.16/28', true],
  ['10.0.0.16/28', '10.0.0.0/27', true],
  ['0.0.0.0/0', '192.168.1.0/24', true],
  ['172.17.0.0/16', '172.18.0.0/16', false],
  ['fd00::/64', '10.0.0.0/8', false],
])('%s and %s', (one, other, overlap) => {
  expect(subnetsOverlap(one, other)).toBe(overlap);
  expect(subnetsOverlap(other, one)).toBe(overlap);
});
