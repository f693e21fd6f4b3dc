import { labels } from '../domain/container.ts';
import type { Problem } from '../domain/deployment.ts';
import { type Attempt, isTask } from './attempt.ts';
import { listeningSockets } from './listening-sockets.ts';

/** What an app asks of the machine but may not have. Known before anything is done. */
export function problemWithAccess({ deployment, settings }: Attempt): Problem | undefined {
  if (!settings.mountDockerSocket || deployment.options.dockerSocket) return undefined;
  return {
    reason: 'CC_MOUNT_DOCKER_SOCKET=true, but this app may not have the Docker socket',
    details: ['whoever has the Docker socket is root on the server'],
    hints: [`an administrator can allow it: gantry apps set ${deployment.app} --docker-socket`],
  };
}

/** A network that an administrator has put the app in, and that is gone or never was. */
export async function problemWithNetworks({ deployment, tools }: Attempt): Promise<Problem | undefined> {
  for (const name of deployment.options.dockerNetworks) {
    if (await tools.engine.inspectNetwork(name)) continue;
    return {
      reason: `there is no Docker network ${name}, which the app is to be in`,
      hints: [
        `make it: docker network create ${name}`,
        `or take it back: gantry apps set ${deployment.app} --docker-network none`,
      ],
    };
  }
  return undefined;
}

/** What an app has of the machine, said at every deployment because it is easily forgotten. */
export async function warnOfAccess({ deployment, settings, log }: Attempt): Promise<void> {
  const isHost = deployment.options.network === 'host';
  if (settings.mountDockerSocket)
    await log.warning('the app gets the Docker socket: it can do on the server whatever root can');
  if (isHost)
    await log.warning(
      `the app has the network of the server: it listens there, on port ${settings.port}, and reaches whatever else does`,
    );
  const { dockerNetworks } = deployment.options;
  if (dockerNetworks.length > 0)
    await log.warning(
      `the app is also in ${dockerNetworks.join(', ')}: what is there reaches it, and it reaches that`,
    );
  if (isHost && settings.ipv6Subnet !== undefined)
    await log.warning('CC_DOCKER_FIXED_CIDR_V6 means nothing in the network of the server');
}

/** The ports of the machine that an app in its network listens on, for HTTP and raw TCP. */
export function hostPorts({ settings, tcpPort }: Attempt): number[] {
  return tcpPort === undefined ? [settings.port] : [settings.port, settings.tcpPort];
}

/** A port of the machine that the app needs and somebody else has. */
export async function problemWithPort(attempt: Attempt): Promise<Problem | undefined> {
  const { deployment, tools } = attempt;
  // A task listens on nothing.
  if (deployment.options.network !== 'host' || isTask(attempt)) return undefined;
  const listeners = await listeningSockets(process.pid);
  const taken = hostPorts(attempt).filter((port) => listeners.some((listener) => listener.port === port));
  if (taken.length === 0) return undefined;
  const containers = await tools.engine.listContainers(`${labels.store}=${tools.storeId}`);
  for (const port of taken) {
    const holder = containers.find(
      ({ running, labels: marks }) =>
        running && (marks[labels.hostPorts] ?? '').split(' ').includes(String(port)),
    );
    // Its own release before, which is stopped first.
    if (holder?.labels[labels.app] === deployment.app) continue;
    const variable = port === attempt.settings.port ? 'HTTP' : 'TCP';
    return {
      reason: `port ${port} of the server is taken by ${holder ? `the app ${holder.labels[labels.app]}` : 'another program'}`,
      hints: [`listen on a free port and set CC_DOCKER_EXPOSED_${variable}_PORT to it`],
    };
  }
  return undefined;
}
