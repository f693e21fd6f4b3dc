import { createHash } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import type { Engine } from '../docker/engine.ts';
import { type AppName, parseAppName } from '../domain/app.ts';
import { type ContainerState, labels } from '../domain/container.ts';
import type { Problem } from '../domain/deployment.ts';
import { ipv6SubnetsOverlap } from '../domain/ipv6-subnet.ts';
import { overlapping } from '../domain/subnet.ts';
import type { Attempt } from './attempt.ts';
import { subnetAt, subnetCount } from './container-spec.ts';

/**
 * The bridge of the app, made at its first deployment. With an IPv6 subnet it is another one, so that the release that
 * serves can stay in its own. A range that overlaps another network is given up for the next.
 */
export async function appNetwork(
  attempt: Attempt,
): Promise<{ network: string; subnet: string } | { problem: Problem }> {
  const { deployment, settings, tools } = attempt;
  const { ipv6Subnet } = settings;
  const network = networkName(attempt);
  if (ipv6Subnet !== undefined) {
    const problem = await problemWithOthers(attempt, ipv6Subnet, network);
    if (problem) return { problem };
  }
  const marks = { [labels.store]: tools.storeId, [labels.app]: deployment.app };
  const subnet = await makeNetwork(
    (taken) => tools.allocateSubnet(deployment.app, taken, ipv6Subnet ?? ''),
    (range) => tools.engine.ensureNetwork(network, range, marks, ipv6Subnet),
    () => tools.engine.takenSubnets(),
  );
  return { network, subnet };
}

/** Tries one range after the other until `make` finds that it overlaps nothing; returns that. */
export async function makeNetwork(
  allocate: (taken: readonly string[]) => Promise<string>,
  make: (subnet: string) => Promise<boolean>,
  inUse: () => Promise<readonly string[]>,
): Promise<string> {
  const first = await allocate([]);
  if (await make(first)) return first;
  // Another Gantry on this engine may have a thousand of them: the engine is not asked about each.
  const all = Array.from({ length: subnetCount }, (_, index) => subnetAt(first, index));
  const taken = [...new Set([first, ...overlapping(all, await inUse())])];
  for (let left = 64; left > 0 && taken.length < subnetCount; left -= 1) {
    const subnet = await allocate(taken);
    if (await make(subnet)) return subnet;
    taken.push(subnet);
  }
  throw new Error('the range in GANTRY_SUBNETS overlaps other networks of this machine; set another one');
}

/** Services, and gates of internal routes, are in the networks of apps for those alone; others look after them. */
export function isGuest({ labels: marks }: Pick<ContainerState, 'labels'>): boolean {
  return marks[labels.service] !== undefined || marks[labels.gate] !== undefined;
}

export async function removeAppNetwork(engine: Engine, network: string): Promise<void> {
  const members = await engine.inspectNetwork(network);
  for (const container of members?.containers ?? [])
    if (isGuest(container)) await engine.disconnectNetwork(network, container.id);
  await engine.removeNetwork(network);
}

/** No name of an app has a dot, so that no app can have the name of a network of another. */
function networkName({ deployment, settings, tools }: Attempt): string {
  const name = `gantry-${tools.storeTag}-${deployment.app}`;
  if (settings.ipv6Subnet === undefined) return name;
  return `${name}.v6-${createHash('sha256').update(settings.ipv6Subnet).digest('hex').slice(0, 8)}`;
}

export function appOfIpv6Network(storeTag: string, network: string): AppName | undefined {
  const start = `gantry-${storeTag}-`;
  const dot = network.indexOf('.v6-');
  return network.startsWith(start) && dot > 0 ? parseAppName(network.slice(start.length, dot)) : undefined;
}

/** Networks of ours that nothing is in any more make room. */
async function problemWithOthers(
  { deployment, tools }: Attempt,
  ipv6Subnet: string,
  network: string,
): Promise<Problem | undefined> {
  const mark = `${labels.app}=${deployment.app}`;
  const isThere = (await tools.engine.listNetworks(mark)).includes(network);
  if (isThere) return undefined;
  for (const other of await tools.engine.networksOverlapping(ipv6Subnet, network)) {
    const isOurs = other.labels[labels.store] === tools.storeId;
    if (isOurs && !other.isUsed) {
      await removeAppNetwork(tools.engine, other.name);
      continue;
    }
    const owner = isOurs
      ? `the network of the app ${other.labels[labels.app]}`
      : `the Docker network ${other.name}`;
    return overlap(ipv6Subnet, `${owner} (${other.subnet})`);
  }
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    for (const { cidr } of addresses ?? [])
      if (cidr !== null && ipv6SubnetsOverlap(cidr, ipv6Subnet))
        return overlap(ipv6Subnet, `the addresses of this machine on ${name} (${cidr})`);
  }
  return undefined;
}

function overlap(ipv6Subnet: string, other: string): Problem {
  return {
    reason: `CC_DOCKER_FIXED_CIDR_V6=${ipv6Subnet} overlaps ${other}`,
    hints: ['set it to a subnet that nothing else uses'],
  };
}
