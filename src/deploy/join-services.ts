import type { Engine } from '../docker/engine.ts';
import { labels } from '../domain/container.ts';
import type { Problem } from '../domain/deployment.ts';
import type { ServiceName } from '../domain/service.ts';
import type { Attempt } from './attempt.ts';
import { freeAddress } from './container-spec.ts';

/**
 * Makes the managed services of an app reachable in its network, each by its name. It is they who come: apps that share
 * a service would meet in a network of the service.
 */
export async function joinServices(attempt: Attempt, network: string): Promise<Problem | undefined> {
  const { tools, services } = attempt;
  for (const { name, isManaged } of services) {
    if (!isManaged) continue;
    const found = await tools.engine.listContainers(`${labels.service}=${name}`);
    const container = found.find(
      ({ labels: marks }) => marks[labels.store] === tools.storeId && labels.serviceMark in marks,
    );
    if (!container) return notThere(name);
    if (!(network in container.networks)) await joinNetwork(tools.engine, network, container.id, name);
  }
  return undefined;
}

function notThere(name: ServiceName): Problem {
  return {
    reason: `the service ${name} does not run`,
    hints: [`gantry services show ${name}  says why`],
  };
}

/** The highest address that is free: those of the app's own containers go round from below. */
export async function joinNetwork(
  engine: Engine,
  network: string,
  container: string,
  name: ServiceName,
): Promise<void> {
  const tried: string[] = [];
  for (;;) {
    const members = await engine.inspectNetwork(network);
    if (!members) return; // its app was deleted meanwhile
    const taken = [...members.containers.map(({ address }) => address), ...tried];
    const address = highestFree(members.subnet, taken);
    if (address === undefined) throw new Error(`no free address is left in the network ${network}`);
    if (await engine.connectNetwork(network, container, name, address)) return;
    tried.push(address);
  }
}

function highestFree(subnet: string, taken: readonly string[]): string | undefined {
  for (let start = 12; start >= 0; start -= 1) {
    const wanted = freeAddress(subnet, [], start);
    if (wanted !== undefined && !taken.includes(wanted)) return wanted;
  }
  return undefined;
}

/** In the network of the machine no name of a service means anything. */
export function serviceOutOfReach({ deployment, services }: Attempt): { problem: Problem } | undefined {
  const [managed] = services.filter(({ isManaged }) => isManaged);
  if (!managed) return undefined;
  return {
    problem: {
      reason: `the app has the network of the server, where the service ${managed.name} cannot be reached`,
      hints: [
        `gantry apps set ${deployment.app} --network bridge`,
        `or do without it: gantry unbind ${deployment.app} ${managed.name}`,
      ],
    },
  };
}
