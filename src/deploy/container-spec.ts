import type { AppName } from '../domain/app.ts';
import { type ContainerSpec, labels } from '../domain/container.ts';
import { instanceEnv } from '../domain/injected-env.ts';
import { type Attempt, injectedFacts, memoryOf } from './attempt.ts';
import { objectLabels } from './build-image.ts';
import { hostPorts } from './host-access.ts';

/** What to run for one instance of a release. `PORT` is always the port the router sends to, whatever the app's variables say. */
export function containerSpec(
  attempt: Attempt,
  image: { reference: string; workingDir: string },
  network: string,
  address: string,
  instance: number,
): ContainerSpec {
  const { deployment, settings, appEnv, tools } = attempt;
  const services = attempt.services.flatMap(({ name, isManaged }) => (isManaged ? [name] : []));
  return {
    name: `gantry-${tools.storeTag}-${deployment.app}-v${deployment.number}-${instance}`,
    image: image.reference,
    labels: {
      ...objectLabels(attempt),
      [labels.fence]: String(tools.fence),
      ...(services.length > 0 && { [labels.services]: services.join(' ') }),
      ...(settings.troubleshoot && { [labels.troubleshoot]: '1' }),
      ...(network === 'host' && { [labels.hostPorts]: hostPorts(attempt).join(' ') }),
    },
    env: {
      ...instanceEnv(injectedFacts(attempt), {
        number: instance,
        home: image.workingDir,
        proxies: [bridgeAddress(address)],
      }),
      ...appEnv,
      PORT: String(settings.port),
    },
    ...(settings.runCommand !== undefined && { command: ['sh', '-c', settings.runCommand] }),
    network,
    address,
    moreNetworks: deployment.options.dockerNetworks,
    extraHosts: deployment.options.extraHosts.map((host) => `${host.name}:${host.address}`),
    memoryBytes: memoryOf(attempt),
    ...(deployment.options.cpus !== undefined && { cpus: deployment.options.cpus }),
    pidsLimit: 4096,
    ...(settings.mountDockerSocket && { dockerSocket: tools.dockerSocket }),
    volumes: deployment.options.volumes.map(({ name, path }) => ({
      volume: volumeName(tools.storeTag, deployment.app, name),
      path,
    })),
  };
}

/** No name of an app has a dot, so that no two apps can come to share a volume. */
export function volumeName(storeTag: string, app: AppName, name: string): string {
  return `gantry-${storeTag}-${app}.${name}`;
}

/** An address of a /28 that no container of the app holds, going round so that a freed one is not dialled by mistake. */
export function freeAddress(subnet: string, taken: readonly string[], start: number): string | undefined {
  const [base = ''] = subnet.split('/');
  const octets = base.split('.').map(Number);
  const last = octets[3] ?? 0;
  // .0 is the network, .1 the bridge, .15 the broadcast address.
  for (let step = 0; step < 13; step += 1) {
    const address = [...octets.slice(0, 3), last + 2 + ((start + step) % 13)].join('.');
    if (!taken.includes(address)) return address;
  }
  return undefined;
}

/** The host's own address in the /28 of `address`: what an app sees as the sender of the router's requests. */
export function bridgeAddress(address: string): string {
  const octets = address.split('.').map(Number);
  return [...octets.slice(0, 3), ((octets[3] ?? 0) & 0xf0) + 1].join('.');
}

export const subnetCount = 4096;

/** The `index`-th /28 of a /16. Throws when there are no more. */
export function subnetAt(range: string, index: number): string {
  if (index >= subnetCount)
    throw new Error(
      `all ${subnetCount} networks that GANTRY_SUBNETS has room for are taken; set another range`,
    );
  const [a, b] = range.split('.').map(Number);
  return `${a}.${b}.${index >> 4}.${(index & 15) << 4}/28`;
}

export function subnetIndex(subnet: string): number {
  const octets = subnet.split(/[./]/).map(Number);
  return ((octets[2] ?? 0) << 4) | ((octets[3] ?? 0) >> 4);
}
