import { isIPv4 } from 'node:net';
import type { NetworkInspectInfo } from 'dockerode';
import { subnetsOf } from './app-network.ts';
import type { NetworkMembers } from './engine.ts';
import type { EngineClient } from './engine-client.ts';
import { isAddressTaken } from './start-refusal.ts';

export async function inspectNetwork(
  client: EngineClient,
  name: string,
): Promise<NetworkMembers | undefined> {
  const found = await client.ask('looking for a network', (docker) => docker.getNetwork(name).inspect());
  if (!found.ok) {
    if (found.refusal.status === 404) return undefined;
    throw new Error(`could not inspect the network ${name}: ${found.refusal.message}`);
  }
  // What the network itself lists are the running ones only.
  const listed = await client.call('listing containers', (docker, abortSignal) =>
    docker.listContainers({ all: true, filters: { network: [name] }, abortSignal }),
  );
  const subnets = subnetsOf(found.value as NetworkInspectInfo);
  return {
    subnet: subnets.find((subnet) => isIPv4(subnet.split('/')[0] ?? '')) ?? '',
    containers: listed.map(({ Id, Labels, NetworkSettings }) => {
      const endpoint = NetworkSettings?.Networks[name];
      return {
        id: Id,
        labels: Labels,
        address: endpoint?.IPAMConfig?.IPv4Address || endpoint?.IPAddress || '',
      };
    }),
  };
}

export async function connectNetwork(
  client: EngineClient,
  network: string,
  container: string,
  alias: string,
  address: string,
): Promise<boolean> {
  const connected = await client.ask('connecting a network', (docker) =>
    docker.getNetwork(network).connect({
      Container: container,
      EndpointConfig: { Aliases: [alias], IPAMConfig: { IPv4Address: address } },
    }),
  );
  if (connected.ok || /already exists in network/i.test(connected.refusal.message)) return true;
  if (isAddressTaken(connected.refusal.message)) return false;
  throw new Error(`could not connect ${alias} with the network ${network}: ${connected.refusal.message}`);
}

export async function disconnectNetwork(
  client: EngineClient,
  network: string,
  container: string,
): Promise<void> {
  const left = await client.ask('leaving a network', (docker) =>
    docker.getNetwork(network).disconnect({ Container: container, Force: true }),
  );
  if (left.ok || left.refusal.status === 404 || /is not connected to/i.test(left.refusal.message)) return;
  throw new Error(`could not leave the network ${network}: ${left.refusal.message}`);
}
