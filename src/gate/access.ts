import { BlockList, isIPv6 } from 'node:net';
import type { GateOrders } from '../domain/gate-orders.ts';
import type { Protocol } from '../domain/network-policy.ts';

/** Who may come where, as the orders say. */
export class Access {
  readonly #rules: { from: BlockList; ports: GateOrders['sources'][number]['ports'] }[];

  constructor({ sources }: GateOrders) {
    this.#rules = sources.map(({ subnets, ports }) => ({ from: listOf(subnets), ports }));
  }

  allows(address: string, protocol: Protocol, port: number): boolean {
    return this.#rules.some(
      ({ from, ports }) =>
        from.check(address, isIPv6(address) ? 'ipv6' : 'ipv4') &&
        ports.some((rule) => rule.protocol === protocol && rule.port <= port && port <= rule.endPort),
    );
  }

  /** All ports that anybody may come to. */
  ports(protocol: Protocol): Set<number> {
    const ports = new Set<number>();
    for (const rule of this.#rules.flatMap((each) => each.ports)) {
      if (rule.protocol !== protocol) continue;
      for (let port = rule.port; port <= rule.endPort; port += 1) ports.add(port);
    }
    return ports;
  }
}

/** An IPv4 address as such, also on a socket for both kinds. */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/, '');
}

function listOf(subnets: readonly string[]): BlockList {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [address = '', bits] = subnet.split('/');
    list.addSubnet(address, Number(bits), isIPv6(address) ? 'ipv6' : 'ipv4');
  }
  return list;
}
