import { BlockList, isIP } from 'node:net';

/** Everything that is not on the public internet, as IANA's registries of special addresses have it. */
const internal = {
  ipv4: listOf(
    [
      '0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24',
      '192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4',
    ]
      .join(' ')
      .split(' '),
  ),
  // Only 2000::/3 is in use; in it, tunnels could lead anywhere, and some is for examples.
  ipv6: listOf('::/3 4000::/2 8000::/1 2001::/32 2001:db8::/32 2002::/16 3fff::/20'.split(' ')),
};

/** Whether a connection to the address would stay in this machine or its network. */
export function isInternalAddress(address: string): boolean {
  const kind = kindOf(address);
  return kind === undefined || internal[kind].check(address, kind);
}

/** A list of ranges such as `127.0.0.0/8,fd00::/8`; nothing when one of them is not a range. */
export function parseRanges(text: string): BlockList | undefined {
  const ranges = text
    .split(',')
    .map((range) => range.trim())
    .filter((range) => range !== '');
  return ranges.every(isRange) ? listOf(ranges) : undefined;
}

export function isInRanges(address: string, ranges: BlockList): boolean {
  const kind = kindOf(address);
  return kind !== undefined && ranges.check(address, kind);
}

function listOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = '', bits = ''] = range.split('/');
    list.addSubnet(address, Number(bits), kindOf(address) ?? 'ipv4');
  }
  return list;
}

function isRange(text: string): boolean {
  const [address = '', bits = '', ...rest] = text.split('/');
  const kind = kindOf(address);
  if (kind === undefined || rest.length > 0 || !/^\d{1,3}$/.test(bits)) return false;
  return Number(bits) <= (kind === 'ipv4' ? 32 : 128);
}

function kindOf(address: string): 'ipv4' | 'ipv6' | undefined {
  const version = isIP(address);
  return version === 0 ? undefined : version === 4 ? 'ipv4' : 'ipv6';
}
