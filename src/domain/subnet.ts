type Range = { first: number; last: number };

/** Whether two IPv4 subnets such as `10.1.2.0/28` share addresses; anything else shares none. */
export function subnetsOverlap(one: string, other: string): boolean {
  return overlapping([one], [other]).length === 1;
}

/** Those of the first list that share addresses with one of the second. */
export function overlapping(subnets: readonly string[], others: readonly string[]): string[] {
  const ranges = others.map(parseSubnet).filter((range) => range !== undefined);
  return subnets.filter((subnet) => {
    const range = parseSubnet(subnet);
    return range && ranges.some((other) => range.first <= other.last && other.first <= range.last);
  });
}

function parseSubnet(subnet: string): Range | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(subnet);
  if (match === null) return undefined;
  const [a = 0, b = 0, c = 0, d = 0, bits = 32] = match.slice(1).map(Number);
  const size = 2 ** (32 - bits);
  const address = a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d;
  const first = address - (address % size);
  return { first, last: first + size - 1 };
}
