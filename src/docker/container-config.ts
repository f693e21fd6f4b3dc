import type { ContainerCreateOptions } from 'dockerode';
import { type ContainerSpec, labels } from '../domain/container.ts';

/** With user namespaces of its own a container may not share the host's network, and the socket is not its root's. */
export function needsHostUsers(spec: ContainerSpec): boolean {
  return spec.network === 'host' || spec.dockerSocket !== undefined;
}

function socketMount({ dockerSocket }: ContainerSpec) {
  if (dockerSocket === undefined) return [];
  return [{ Type: 'bind' as const, Source: dockerSocket, Target: '/var/run/docker.sock' }];
}

/** A volume outlives the release it was made for. */
function volumeLabels(all: Readonly<Record<string, string>>): Record<string, string> {
  const lasting: string[] = [labels.store, labels.app, labels.service];
  return Object.fromEntries(Object.entries(all).filter(([name]) => lasting.includes(name)));
}

/** The body of "create a container". It is born without a restart policy, so that a candidate that crashes stays down. */
export function containerConfig(spec: ContainerSpec, isRemapped = false): ContainerCreateOptions {
  return {
    Image: spec.image,
    Labels: { ...spec.labels },
    ...(spec.command && { Entrypoint: spec.command.slice(0, 1), Cmd: spec.command.slice(1) }),
    ...(spec.stdin && { OpenStdin: true, StdinOnce: true, AttachStdin: true }),
    // An interactive shell ignores SIGTERM; a terminal that is gone is what SIGHUP means.
    ...(spec.terminal && { Tty: true, OpenStdin: true, StopSignal: 'SIGHUP' }),
    Env: Object.entries(spec.env).map(([name, value]) => `${name}=${value}`),
    HostConfig: {
      // Without an init, a PID 1 that has no handler for SIGTERM ignores it, and every stop takes the whole grace time.
      Init: true,
      // Equal to Memory means no swap; left out, the engine allows as much swap again.
      ...(spec.memoryBytes === undefined ? {} : { Memory: spec.memoryBytes, MemorySwap: spec.memoryBytes }),
      ...(spec.cpus === undefined ? {} : { NanoCpus: Math.round(spec.cpus * 1e9) }),
      PidsLimit: spec.pidsLimit,
      SecurityOpt: ['no-new-privileges'],
      CapDrop: ['NET_RAW'],
      // Engines of API 1.42 and newer do not need to be told later.
      ...(spec.terminal && { ConsoleSize: [spec.terminal.rows, spec.terminal.columns] }),
      LogConfig: spec.terminal
        ? { Type: 'none', Config: {} }
        : { Type: 'local', Config: { 'max-size': '10m', 'max-file': '3', compress: 'false' } },
      RestartPolicy: { Name: 'no' },
      NetworkMode: spec.network,
      ...(spec.extraHosts && spec.extraHosts.length > 0 && { ExtraHosts: [...spec.extraHosts] }),
      ...(isRemapped && needsHostUsers(spec) && { UsernsMode: 'host' }),
      Mounts: [
        ...socketMount(spec),
        ...(spec.volumes ?? []).map(({ volume, path }) => ({
          Type: 'volume' as const,
          Source: volume,
          Target: path,
          VolumeOptions: {
            NoCopy: false,
            Labels: volumeLabels(spec.labels),
            DriverConfig: { Name: 'local', Options: {} },
          },
        })),
      ],
    },
    ...(spec.network !== 'host' && {
      NetworkingConfig: {
        EndpointsConfig: { [spec.network]: { IPAMConfig: { IPv4Address: spec.address } } },
      },
    }),
  };
}
