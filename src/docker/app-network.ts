import { isIPv4 } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NetworkInspectInfo } from 'dockerode';
import { labels } from '../domain/container.ts';
import { ipv6SubnetsOverlap } from '../domain/ipv6-subnet.ts';
import { subnetsOverlap } from '../domain/subnet.ts';
import type { NetworkFacts, NetworkState } from './engine.ts';
import type { EngineClient, RawRequest } from './engine-client.ts';

/** How long the engine may take from reserving a subnet to showing the network. */
const creationTimeoutMs = 3_000;

/** `false`: the subnet overlaps another network. */
export async function ensureNetwork(
  client: EngineClient,
  name: string,
  subnet: string,
  labels: Readonly<Record<string, string>>,
  ipv6Subnet?: string,
): Promise<boolean> {
  if (await hasNetwork(client, name, subnet)) return true;
  const subnets = ipv6Subnet === undefined ? [subnet] : [subnet, ipv6Subnet];
  const options: RawRequest = {
    _query: {},
    _body: {
      Name: name,
      Driver: 'bridge',
      // Engines before 25 allow two networks of one name otherwise.
      CheckDuplicate: true,
      Labels: labels,
      EnableIPv6: ipv6Subnet !== undefined,
      IPAM: { Driver: 'default', Config: subnets.map((each) => ({ Subnet: each })) },
    },
  };
  const created = await client.ask('creating a network', (docker, abortSignal) =>
    docker.createNetwork({ ...options, Name: name, abortSignal }),
  );
  if (created.ok) return true;
  if (/overlap|already exists/i.test(created.refusal.message)) {
    return await isBeingMade(client, name, subnet);
  }
  throw new Error(`could not create the network ${name}: ${created.refusal.message}`);
}

/**
 * An overlap may be with ourselves: while somebody else creates this very network, its subnet is taken already but the
 * network cannot be seen yet. It is not, when a network that can be seen explains the overlap.
 */
async function isBeingMade(client: EngineClient, name: string, subnet: string): Promise<boolean> {
  const deadline = performance.now() + creationTimeoutMs;
  for (;;) {
    if (await hasNetwork(client, name, subnet)) return true;
    const others = (await allNetworks(client)).filter((found) => found.Name !== name).flatMap(subnetsOf);
    if (others.some((taken) => subnetsOverlap(taken, subnet)) || performance.now() > deadline) return false;
    await sleep(50);
  }
}

export async function networksOverlapping(
  client: EngineClient,
  ipv6Subnet: string,
  except: string,
): Promise<NetworkFacts[]> {
  const found: NetworkFacts[] = [];
  for (const network of await allNetworks(client)) {
    const subnet = subnetsOf(network).find((each) => ipv6SubnetsOverlap(each, ipv6Subnet));
    if (subnet === undefined || network.Name === except) continue;
    const containers = await client.call('listing containers', (docker, abortSignal) =>
      docker.listContainers({ all: true, filters: { network: [network.Id] }, abortSignal }),
    );
    found.push({
      name: network.Name,
      subnet,
      labels: network.Labels ?? {},
      isUsed: containers.some(
        ({ Labels }) => Labels[labels.gate] === undefined && Labels[labels.service] === undefined,
      ),
    });
  }
  return found;
}

export async function describeNetworks(client: EngineClient, label: string): Promise<NetworkState[]> {
  return (await networksWith(client, label)).map((network) => ({
    name: network.Name,
    labels: network.Labels ?? {},
    subnets: subnetsOf(network),
  }));
}

export async function listNetworks(client: EngineClient, label: string): Promise<string[]> {
  return (await networksWith(client, label)).map((network) => network.Name);
}

export async function takenSubnets(client: EngineClient): Promise<string[]> {
  return (await allNetworks(client)).flatMap(subnetsOf);
}

function networksWith(client: EngineClient, label: string): Promise<NetworkInspectInfo[]> {
  return client.call('listing networks', (docker, abortSignal) =>
    docker.listNetworks({ filters: { label: [label] }, abortSignal }),
  );
}

function allNetworks(client: EngineClient): Promise<NetworkInspectInfo[]> {
  return client.call('listing networks', (docker) => docker.listNetworks());
}

export function subnetsOf({ IPAM }: NetworkInspectInfo): string[] {
  return (IPAM?.Config ?? []).flatMap(({ Subnet }) => (Subnet === undefined ? [] : [Subnet]));
}

export async function removeNetwork(client: EngineClient, name: string): Promise<void> {
  const removed = await client.ask('removing a network', (docker, abortSignal) =>
    docker.getNetwork(name).remove({ abortSignal }),
  );
  if (removed.ok || removed.refusal.status === 404) return;
  throw new Error(`could not remove the network ${name}: ${removed.refusal.message}`);
}

async function hasNetwork(client: EngineClient, name: string, subnet: string): Promise<boolean> {
  const found = await client.ask('looking for a network', (docker) => docker.getNetwork(name).inspect());
  if (!found.ok) {
    if (found.refusal.status === 404) return false;
    throw new Error(`could not inspect the network ${name}: ${found.refusal.message}`);
  }
  const existing = subnetsOf(found.value as NetworkInspectInfo).find((each) =>
    isIPv4(each.split('/')[0] ?? ''),
  );
  if (existing === subnet) return true;
  // Made before the store was set back; the engine removes none that something runs in.
  await removeNetwork(client, name).catch(() => {
    throw new Error(`the network ${name} exists with the subnet ${String(existing)}, not ${subnet}`);
  });
  return false;
}
