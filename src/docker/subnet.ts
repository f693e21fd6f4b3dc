/** Whether two IPv4 subnets such as `10.1.2.0/28` share addresses; anything else shares none. */
export function subnetsOverlap(one: string, other: string): boolean {
  const a = parseSubnet(one);
  const b = parseSubnet(other);
  if (a === undefined || b === undefined) return false;
  return a.first <= b.last && b.first <= a.last;
}

function parseSubnet(subnet: string): { first: number; last: number } | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(subnet);
  if (match === null) return undefined;
  const [a = 0, b = 0, c = 0, d = 0, bits = 32] = match.slice(1).map(Number);
  const size = 2 ** (32 - bits);
  const address = a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d;
  const first = address - (address % size);
  return { first, last: first + size - 1 };
}
