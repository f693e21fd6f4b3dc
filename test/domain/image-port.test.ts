import { expect, test } from 'vitest';
import { portOfImage } from '../../src/domain/image-port.ts';

test.each([
  [[], 'none'],
  [['80/tcp'], 80],
  [['9090/tcp', '443/tcp', '53/udp', '80/udp'], 443],
  [['10000/tcp', '9000/tcp'], 9000],
  [['3000'], 3000],
  [['53/udp', '514/udp'], 'only udp'],
  [['80/sctp'], 'only udp'],
])('of the ports %j it is %s', (exposed, port) => {
  expect(portOfImage(exposed)).toBe(port);
});
