import { isIP } from 'node:net';
import { isRegistryPlace } from './image-reference.ts';

/** What is decided about an app besides its variables. In force with the next deployment, as a variable is. */
export type AppOptions = {
  /** Of each instance. `undefined`: what the server gives every app. */
  memoryBytes: number | undefined;
  /** Of each instance, 0.5 being half a core. `undefined`: no limit. */
  cpus: number | undefined;
  /** Containers of a release, side by side behind the router. */
  instances: number;
  /** `host`: the container has the network of the machine, and no second one of the app can run beside it. */
  network: 'bridge' | 'host';
  /** Names that its containers know besides, as an administrator has it. */
  extraHosts: readonly ExtraHost[];
  /** Networks of the engine that its containers are in besides their own, as an administrator has it. */
  dockerNetworks: readonly string[];
  /** An administrator lets this app have the Docker socket, and with it the machine. */
  dockerSocket: boolean;
  /** A deployment runs the container once instead of serving it. */
  task: boolean;
  /** `undefined`: start first where two releases can run side by side. */
  swap: 'start-first' | 'stop-first' | undefined;
  volumes: readonly AppVolume[];
  /** The one the app listens on. `undefined`: what its variables say, or its image. */
  port: number | undefined;
  /** Instead of what its variables or its image say, through `sh -c`. */
  command: string | undefined;
  /** Run in a container of each image that is built, through `sh -c`, before anything of it is started. */
  testCommand: string | undefined;
  /** Where its built images go, as `registry.example/team`, or `none`. `undefined`: what the server gives every app. */
  registry: string | undefined;
  /** `undefined`: as is usual for where the app comes from. */
  healthCheck: HealthCheckType | undefined;
  /** The path of a check over HTTP. */
  endpoint: string | undefined;
  /** How long a new container may take to become healthy. `undefined`: what the server gives every app. */
  startSeconds: number | undefined;
};

/** Cloud Foundry's: `port` takes connections, `http` answers 200, `process` has not ended. */
export const healthCheckTypes = ['port', 'http', 'process'] as const;
export type HealthCheckType = (typeof healthCheckTypes)[number];

/** `host-gateway` is the machine itself, as with `docker run --add-host`. */
export type ExtraHost = { name: string; address: string };

/** Data that outlives the containers of an app: a named volume of the engine, mounted at an absolute path. */
export type AppVolume = { name: string; path: string };

/** Two generations of six have room in the sixteen addresses of an app's network. */
const mostInstances = 6;

/** The engine refuses less. */
export const smallestMemory = 6 * 1024 ** 2;

const defaults: AppOptions = {
  memoryBytes: undefined,
  cpus: undefined,
  instances: 1,
  network: 'bridge',
  extraHosts: [],
  dockerNetworks: [],
  dockerSocket: false,
  task: false,
  swap: undefined,
  volumes: [],
  port: undefined,
  command: undefined,
  testCommand: undefined,
  registry: undefined,
  healthCheck: undefined,
  endpoint: undefined,
  startSeconds: undefined,
};

/** Which of two releases has to be running when the other one is started or stopped. */
export type SwapOrder = 'start-first' | 'stop-first';

/** How a release made with these options takes the place of the one before it, and why so. */
export function swapOrder(options: AppOptions): { order: SwapOrder; because: string } {
  if (options.network === 'host')
    return { order: 'stop-first', because: 'two of them cannot have one port of the host' };
  if (options.swap !== undefined) return { order: options.swap, because: 'the app swaps stop-first' };
  return options.volumes.length > 0
    ? { order: 'stop-first', because: 'the app has a volume' }
    : { order: 'start-first', because: '' };
}

const mostVolumes = 20;
const mostExtraHosts = 50;
const mostNetworks = 10;
const longestStart = 600;

/** Why an app cannot have the volume. */
export function problemWithVolume({ name, path }: AppVolume): string | undefined {
  if (!/^[a-z0-9](?:[a-z0-9_-]{0,38}[a-z0-9])?$/.test(name))
    return 'the name of a volume has 1 to 40 lower-case letters, digits, hyphens and underscores';
  if (!path.startsWith('/') || path.length > 500 || /[\p{Cc}\\:]/u.test(path))
    return 'the path of a volume is absolute, like /data';
  const parts = path.slice(1).split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..'))
    return 'the path of a volume is a folder other than /, without ".." and needless slashes';
  return ['proc', 'sys', 'dev'].includes(parts[0] ?? '')
    ? 'a volume cannot be below /proc, /sys or /dev, which belong to the kernel'
    : undefined;
}

/** `name:address`; what is in front of the first colon is the name. */
export function parseExtraHost(text: string): ExtraHost {
  const [, name = '', address = ''] = /^([^:]*):(.*)$/s.exec(text) ?? [];
  return { name, address: address.replace(/^\[(.*)\]$/, '$1') };
}

function problemWithExtraHost({ name, address }: ExtraHost): string | undefined {
  const labels = name.split('.');
  const isName = labels.every((label) => /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label));
  if (!isName || name.length > 253 || isIP(name) !== 0)
    return 'an entry for hosts is name:address, like db.internal:10.0.0.5';
  if (address !== 'host-gateway' && (isIP(address) === 0 || address.includes('%')))
    return `the address of ${name} is an IPv4 or IPv6 address, or host-gateway for the server itself`;
  return undefined;
}

function problemWithNetwork(name: string): string | undefined {
  if (!/^[a-z0-9][\w.-]{0,127}$/i.test(name)) return 'that is no name of a Docker network';
  if (['host', 'none', 'default'].includes(name))
    return `an app cannot be in the network ${name} besides its own`;
  return name.startsWith('gantry-') ? 'the networks of other apps are theirs alone' : undefined;
}

/** As they were stored; nothing is stored for an app that never had any. */
export function readAppOptions(stored: string | undefined): AppOptions {
  return { ...defaults, ...(stored ? (JSON.parse(stored) as Partial<AppOptions>) : {}) };
}

/** `512M`, `2G`, or a plain number of bytes; at least the engine's minimum of 6 MB. */
export function parseMemory(text: string): number | undefined {
  const match = /^(\d{1,15})([kmg]?)i?b?$/i.exec(text.trim());
  if (!match) return undefined;
  const unit = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }[match[2]?.toLowerCase() ?? ''] ?? 1;
  const bytes = Number(match[1]) * unit;
  return bytes >= smallestMemory ? bytes : undefined;
}

/** `512M`, `1.5G`: as short as it stays true to the mebibyte. */
export function showMemory(bytes: number): string {
  const mebibytes = bytes / 1024 ** 2;
  if (mebibytes >= 1024 && Number.isInteger((mebibytes * 10) / 1024)) return `${mebibytes / 1024}G`;
  return `${Math.round(mebibytes)}M`;
}

/** Why an app cannot have them. */
export function problemWithAppOptions(options: AppOptions): string | undefined {
  const { instances, cpus, network, volumes, port, endpoint, startSeconds } = options;
  const { extraHosts, dockerNetworks } = options;
  if (!Number.isInteger(instances) || instances < 1 || instances > mostInstances)
    return `an app has 1 to ${mostInstances} instances`;
  if (cpus !== undefined && !(cpus >= 0.01 && cpus <= 512)) return 'cpus is a number of cores from 0.01 on';
  if (network === 'host' && instances > 1)
    return 'an app in the network of the host has one instance: two cannot have one port';
  if (options.swap === 'start-first' && network === 'host')
    return 'an app in the network of the host swaps stop-first: two releases cannot have one port';
  if (network === 'host' && dockerNetworks.length > 0)
    return 'an app in the network of the host can be in no other';
  if (extraHosts.length > mostExtraHosts) return `an app has at most ${mostExtraHosts} entries for hosts`;
  if (dockerNetworks.length > mostNetworks) return `an app is in at most ${mostNetworks} more networks`;
  const [unsound] = [
    ...extraHosts.map(problemWithExtraHost),
    ...dockerNetworks.map(problemWithNetwork),
  ].filter((problem) => problem !== undefined);
  if (unsound !== undefined) return unsound;
  if (volumes.length > mostVolumes) return `an app has at most ${mostVolumes} volumes`;
  if (port !== undefined && !(Number.isInteger(port) && port >= 1 && port <= 65535))
    return 'a port is a number from 1 to 65535';
  for (const command of [options.command, options.testCommand])
    if (command !== undefined && (command.trim() === '' || command.length > 10_000 || command.includes('\0')))
      return 'a command has 1 to 10 000 characters';
  const { registry } = options;
  if (registry !== undefined && registry !== 'none' && !isRegistryPlace(registry))
    return 'a registry is a host and perhaps a path, like registry.example.com/team, or none';
  if (endpoint !== undefined && !isHealthPath(endpoint))
    return 'an endpoint is a path like /healthz, without spaces';
  if (startSeconds !== undefined && !(startSeconds >= 1 && startSeconds <= longestStart))
    return `the time to start is 1 to ${longestStart} seconds`;
  return undefined;
}

/** A path that can be asked for as it is. */
export function isHealthPath(path: string): boolean {
  return /^\/(?!\/)[\x21-\x7e]{0,2000}$/.test(path);
}
