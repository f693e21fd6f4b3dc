import { expect, test } from 'vitest';
import { clientAddress } from '../../src/domain/client-address.ts';
import { parseRanges } from '../../src/domain/internal-address.ts';

const none = parseRanges('')!;
const proxies = parseRanges('127.0.0.1/32,10.0.0.0/8,fd00::/8')!;

test.each([
  ['nothing is believed when no proxy is configured', '127.0.0.1', '1.2.3.4', none, '127.0.0.1'],
  ['nor what somebody else than a proxy says', '9.9.9.9', '1.2.3.4', proxies, '9.9.9.9'],
  ['a proxy tells its client', '127.0.0.1', '1.2.3.4', proxies, '1.2.3.4'],
  ['also on a socket for both families', '::ffff:127.0.0.1', '1.2.3.4', proxies, '1.2.3.4'],
  ['what the client wrote before that is nothing', '127.0.0.1', '6.6.6.6, 1.2.3.4', proxies, '1.2.3.4'],
  ['through two proxies', '127.0.0.1', '6.6.6.6, 1.2.3.4, 10.1.1.1', proxies, '1.2.3.4'],
  ['in IPv6', 'fd00::1', '2a00::7', proxies, '2a00::7'],
  ['a proxy that tells nothing', '127.0.0.1', undefined, proxies, '127.0.0.1'],
  ['or nonsense', '127.0.0.1', 'unknown', proxies, '127.0.0.1'],
  ['or proxies only', '127.0.0.1', '10.2.2.2', proxies, '10.2.2.2'],
])('%s', (_, peer, forwardedFor, trusted, client) => {
  expect(clientAddress(peer, forwardedFor, trusted)).toBe(client);
});
