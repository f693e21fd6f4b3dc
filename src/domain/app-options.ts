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
  /** An administrator lets this app have the Docker socket, and with it the machine. */
  dockerSocket: boolean;
  /** A deployment runs the container once instead of serving it. */
  task: boolean;
  /** `undefined`: start first where two releases can run side by side. */
  swap: 'start-first' | 'stop-first' | undefined;
  volumes: readonly AppVolume[];
};

/** Data that outlives the containers of an app: a named volume of the engine, mounted at an absolute path. */
type AppVolume = { name: string; path: string };

/** Two generations of six have room in the sixteen addresses of an app's network. */
const mostInstances = 6;

/** The engine refuses less. */
export const smallestMemory = 6 * 1024 ** 2;

const defaults: AppOptions = {
  memoryBytes: undefined,
  cpus: undefined,
  instances: 1,
  network: 'bridge',
  dockerSocket: false,
  task: false,
  swap: undefined,
  volumes: [],
};

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
  const { instances, cpus, network } = options;
  if (!Number.isInteger(instances) || instances < 1 || instances > mostInstances)
    return `an app has 1 to ${mostInstances} instances`;
  if (cpus !== undefined && !(cpus >= 0.01 && cpus <= 512)) return 'cpus is a number of cores from 0.01 on';
  if (network === 'host' && instances > 1)
    return 'an app in the network of the host has one instance: two cannot have one port';
  if (options.swap === 'start-first' && network === 'host')
    return 'an app in the network of the host swaps stop-first: two releases cannot have one port';
  return undefined;
}
