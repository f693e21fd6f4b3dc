import type { PortRule } from './network-policy.ts';

/** What a gate is to do, all of it; what it did before and is not in here ends. */
export type GateOrders = {
  /** Who may come, by the networks they are in, and where to. */
  sources: readonly { subnets: readonly string[]; ports: readonly PortRule[] }[];
  /** Addresses of the containers that new connections go to. */
  targets: readonly string[];
};

export type GateAnswer = {
  /** Address of a container to how many connections it has, also of one that gets no new ones. */
  open: Readonly<Record<string, number>>;
  /** Ports that cannot be listened on. */
  problems: readonly string[];
};
