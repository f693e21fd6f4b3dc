import type { TerminalSize } from './terminal.ts';

/** Labels that mark everything we make in the Docker engine; nothing without them is ever stopped or removed. */
export const labels = {
  /** The store that owns the object: two Gantrys on one engine leave each other alone. */
  store: 'gantry.store',
  app: 'gantry.app',
  release: 'gantry.release',
  /** On a container that runs a command once. */
  task: 'gantry.task',
  /** On everything of a managed service, which is of no app. */
  service: 'gantry.service',
  /** What a container of a service is made of. */
  serviceMark: 'gantry.service-mark',
  /** On a container of an app: the managed services it was told of, with spaces between them. */
  services: 'gantry.services',
  /** On a container that hands connections for an internal host name on: that name. */
  gate: 'gantry.gate',
  commit: 'gantry.commit',
  /** Reference and digest of what was pulled; of a gate, its image. */
  image: 'gantry.image',
  /** Kept for a while when it fails, for somebody to look at it. */
  troubleshoot: 'gantry.troubleshoot',
  /** On a container of an app: the fencing number of the worker that started it. */
  fence: 'gantry.fence',
  /** The ports of the machine that a container in its network listens on, with spaces between them. */
  hostPorts: 'gantry.host-ports',
} as const;

/** Everything needed to run one container of a release; made by a pure function, carried out by the engine. */
export type ContainerSpec = {
  name: string;
  image: string;
  labels: Readonly<Record<string, string>>;
  env: Readonly<Record<string, string>>;
  /** Instead of what the image says, its entrypoint included. */
  command?: readonly string[];
  /** What it reads; then its standard input ends. */
  stdin?: Buffer;
  /** It gets a terminal, and nothing of what goes through that is logged. */
  terminal?: TerminalSize;
  /** `host`: no network of its own. */
  network: string;
  /** Networks it is in besides. */
  moreNetworks?: readonly string[];
  /** Names it knows besides, as `name:address`. */
  extraHosts?: readonly string[];
  /** Fixed, so that the address outlives restarts of the container and of the engine. */
  address: string;
  /** The limit; swap is off. Absent: no limit. */
  memoryBytes?: number;
  /** 0.5 is half a core. Absent: no limit. */
  cpus?: number;
  pidsLimit: number;
  /** Path of the engine's socket on its machine; the container gets it where the docker command looks for it. */
  dockerSocket?: string;
  /** Named volumes of the engine, made when they are first needed. */
  volumes?: readonly { volume: string; path: string }[];
};

export type ContainerState = {
  id: string;
  name: string;
  labels: Readonly<Record<string, string>>;
  running: boolean;
  /** The engine is about to start it again, after it ended by itself. */
  isRestarting: boolean;
  restartCount: number;
  /** It comes back when it ends and after a reboot. */
  isKept: boolean;
  /** Set once it has exited. */
  exitCode?: number;
  /** The kernel killed its main process for memory. */
  outOfMemory: boolean;
  /** RFC 3339; of the last start and the last end. */
  startedAt?: string;
  endedAt?: string;
  /** Limits. */
  memoryBytes?: number;
  cpus?: number;
  /** Process id on the host, while running. */
  pid?: number;
  /** Its fixed address in the network, running or not. */
  address?: string;
  /** The same of each network it is in. */
  networks: Readonly<Record<string, string>>;
};
