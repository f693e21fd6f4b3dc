import { expect, test } from 'vitest';
import { Access, plainAddress } from '../../src/gate/access.ts';

test('who may come where is a matter of the network and the port', () => {
  const access = new Access({
    sources: [
      {
        subnets: ['10.1.0.16/28', 'fd00:1::/64'],
        ports: [
          { protocol: 'tcp', port: 80, endPort: 82 },
          { protocol: 'udp', port: 53, endPort: 53 },
        ],
      },
      { subnets: ['10.1.0.32/28'], ports: [{ protocol: 'tcp', port: 90, endPort: 90 }] },
    ],
    targets: [],
  });
  expect(access.allows('10.1.0.17', 'tcp', 81)).toBe(true);
  expect(access.allows('fd00:1::7', 'tcp', 80)).toBe(true);
  expect(access.allows('10.1.0.17', 'udp', 53)).toBe(true);
  expect(access.allows('10.1.0.33', 'tcp', 90)).toBe(true);
  expect(access.allows('10.1.0.17', 'tcp', 83)).toBe(false);
  expect(access.allows('10.1.0.17', 'tcp', 90)).toBe(false);
  expect(access.allows('10.1.0.17', 'tcp', 53)).toBe(false);
  expect(access.allows('10.1.0.33', 'tcp', 80)).toBe(false);
  expect(access.allows('10.1.0.15', 'tcp', 80)).toBe(false);
  expect(access.allows('fd00:2::7', 'tcp', 80)).toBe(false);
  expect(access.allows('', 'tcp', 80)).toBe(false);
  expect([...access.ports('tcp')]).toEqual([80, 81, 82, 90]);
  expect(plainAddress('::ffff:10.1.0.17')).toBe('10.1.0.17');
});
