import { isIPv6 } from 'node:net';

/** An IPv6 subnet as its first and last address. */
type Ipv6Subnet = { first: bigint; last: bigint };

const shortest = 48;
/** Sixteen addresses: the network's, the bridge's and some for containers. */
const longest = 124;

/** `2001:db8:1::/64`. Anything else is undefined. */
function readIpv6Subnet(text: string): Ipv6Subnet | undefined {
  const [address = '', bits = '', ...rest] = text.split('/');
  if (rest.length > 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > 128) return undefined;
  // Neither a zone nor an IPv4 address at its end.
  if (!isIPv6(address) || /[%.]/.test(address)) return undefined;
  const size = 1n << BigInt(128 - Number(bits));
  const value = valueOf(address);
  const first = value - (value % size);
  return { first, last: first + size - 1n };
}

export function ipv6SubnetsOverlap(one: string, other: string): boolean {
  const a = readIpv6Subnet(one);
  const b = readIpv6Subnet(other);
  return a !== undefined && b !== undefined && a.first <= b.last && b.first <= a.last;
}

/** Why it cannot be the subnet of an app's network. */
export function problemWithIpv6Subnet(text: string): string | undefined {
  const subnet = readIpv6Subnet(text);
  if (!subnet) return 'must be an IPv6 subnet like fd12:3456:789a:1::/64';
  const bits = Number(text.split('/')[1]);
  if (bits < shortest || bits > longest) return `must have a prefix from /${shortest} to /${longest}`;
  if (valueOf(text.split('/')[0] ?? '') !== subnet.first)
    return `has bits set behind its prefix; ${showAddress(subnet.first)}/${bits} may be meant`;
  const isGlobal = subnet.first >> 125n === 1n;
  const isLocal = subnet.first >> 121n === 0x7en;
  return isGlobal || isLocal
    ? undefined
    : 'must be of global (2000::/3) or unique local addresses (fc00::/7)';
}

/** One spelling for one subnet. Only for what `readIpv6Subnet` takes. */
export function canonicalIpv6Subnet(text: string): string {
  const { first } = readIpv6Subnet(text) ?? { first: 0n };
  return `${showAddress(first)}/${Number(text.split('/')[1])}`;
}

function valueOf(address: string): bigint {
  const [head = '', tail] = address.split('::');
  const words = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const before = words(head);
  const after = tail === undefined ? [] : words(tail);
  const missing = tail === undefined ? 0 : 8 - before.length - after.length;
  const all = [...before, ...Array.from({ length: missing }, () => '0'), ...after];
  return all.reduce((value, word) => (value << 16n) | BigInt(`0x${word}`), 0n);
}

/** The longest run of zeros, the first of several, becomes `::`; see RFC 5952. */
function showAddress(value: bigint): string {
  const words = Array.from({ length: 8 }, (_, at) =>
    ((value >> BigInt(112 - 16 * at)) & 0xffffn).toString(16),
  );
  const text = words.join(':');
  const [longestRun = ''] = (text.match(/\b0(?::0)+\b/g) ?? []).sort((a, b) => b.length - a.length);
  if (longestRun === '') return text;
  return text.replace(new RegExp(`(^|:)${longestRun}(:|$)`), '::');
}
