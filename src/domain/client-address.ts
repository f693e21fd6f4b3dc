import { type BlockList, isIP } from 'node:net';
import { isInRanges } from './internal-address.ts';

/**
 * Where a request comes from. What `X-Forwarded-For` says counts only as far as the proxies that said it are ours:
 * read from its end, the first address that is no proxy of ours is the client. Everything before it anybody can write.
 */
export function clientAddress(peer: string, forwardedFor: string | undefined, proxies: BlockList): string {
  const claimed = (forwardedFor ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  let address = plain(peer);
  while (isInRanges(address, proxies)) {
    const next = claimed.pop();
    if (next === undefined || isIP(plain(next)) === 0) return address;
    address = plain(next);
  }
  return address;
}

/** A socket that listens on both families tells IPv4 addresses like this. */
function plain(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');
}
