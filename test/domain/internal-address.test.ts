import { describe, expect, test } from 'vitest';
import { isInRanges, isInternalAddress, parseRanges } from '../../src/domain/internal-address.ts';

describe('an address', () => {
  test.each(['8.8.8.8', '1.1.1.1', '140.82.121.4', '172.32.0.1', '2606:4700::1111', '2a00:1450:4001::1'])(
    '%s is public',
    (address) => {
      expect(isInternalAddress(address)).toBe(false);
    },
  );

  test.each([
    '127.0.0.1',
    '127.9.9.9',
    '0.0.0.0',
    '10.1.2.3',
    '172.17.0.1',
    '192.168.0.1',
    '169.254.169.254',
    '100.64.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '::1',
    '::',
    'fe80::1',
    'fd00::1',
    'fc00::1',
    'ff02::1',
    '::ffff:127.0.0.1',
    '::ffff:8.8.8.8',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    '2001:db8::1',
    'localhost',
    '',
  ])('%s is not', (address) => {
    expect(isInternalAddress(address)).toBe(true);
  });

  test('may be allowed by a range', () => {
    const ranges = parseRanges('127.0.0.0/8, fd00::/8');
    if (!ranges) throw new Error('those are ranges');
    expect(isInRanges('127.0.0.1', ranges)).toBe(true);
    expect(isInRanges('fd12::1', ranges)).toBe(true);
    expect(isInRanges('10.0.0.1', ranges)).toBe(false);
    expect(isInRanges('::1', ranges)).toBe(false);
  });

  test.each(['10.0.0.0', '10.0.0.0/33', 'fd00::/129', 'localhost/8', '10.0.0.0/8/8', '10.0.0.0/x'])(
    '%s is no range',
    (text) => {
      expect(parseRanges(text)).toBeUndefined();
    },
  );
});
