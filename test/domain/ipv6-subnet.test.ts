import { describe, expect, test } from 'vitest';
import {
  canonicalIpv6Subnet,
  ipv6SubnetsOverlap,
  problemWithIpv6Subnet,
} from '../../src/domain/ipv6-subnet.ts';

describe("the IPv6 subnet of an app's network", () => {
  test.each([
    'fd12:3456:789a:1::/64',
    '2001:db8::/48',
    'fc00::/124',
    'FD00:0:0:1:0:0:0:0/80',
    '3fff:ffff::/48',
  ])('can be %s', (text) => {
    expect(problemWithIpv6Subnet(text)).toBeUndefined();
  });

  test.each([
    ['', 'must be an IPv6 subnet'],
    ['fd00::', 'must be an IPv6 subnet'],
    ['10.0.0.0/24', 'must be an IPv6 subnet'],
    ['fd00::/64/64', 'must be an IPv6 subnet'],
    ['fd00::/129', 'must be an IPv6 subnet'],
    ['fd00::/ 64', 'must be an IPv6 subnet'],
    ['fd00::%eth0/64', 'must be an IPv6 subnet'],
    ['::ffff:10.0.0.0/104', 'must be an IPv6 subnet'],
    ['fd00:::/64', 'must be an IPv6 subnet'],
    ['fd00::/47', 'from /48 to /124'],
    ['fd00::/125', 'from /48 to /124'],
    ['fd12:3456::5/64', 'fd12:3456::/64 may be meant'],
    ['fe80::/64', 'global'],
    ['ff02::/64', 'global'],
    ['::/64', 'global'],
  ])('cannot be %j', (text, problem) => {
    expect(problemWithIpv6Subnet(text)).toContain(problem);
  });

  test.each([
    ['FD00:0:0:1:0:0:0:0/80', 'fd00:0:0:1::/80'],
    ['2001:0db8::/48', '2001:db8::/48'],
    ['fd00::1:0:0:0/80', 'fd00::1:0:0:0/80'],
    ['fd00:1:2:3:4:5:6:0/112', 'fd00:1:2:3:4:5:6:0/112'],
  ])('%s is written %s', (text, canonical) => {
    expect(canonicalIpv6Subnet(text)).toBe(canonical);
  });

  test.each([
    ['fd00::/64', 'fd00::/64', true],
    ['fd00::/48', 'fd00:0:0:5::/64', true],
    ['fd00:0:0:5::/64', 'fd00::/48', true],
    ['fd00:0:0:5::/64', 'fd00:0:0:6::/64', false],
    ['fd00::/64', '10.0.0.0/8', false],
  ])('%s and %s overlap: %s', (one, other, overlap) => {
    expect(ipv6SubnetsOverlap(one, other)).toBe(overlap);
  });
});
