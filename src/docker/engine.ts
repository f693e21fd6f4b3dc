import type { Duplex, Readable } from 'node:stream';
import type { ContainerSpec, ContainerState } from '../domain/container.ts';
import type { ImageReference } from '../domain/image-reference.ts';
import type { RegistryLogin } from '../domain/registry-login.ts';
import type { Screen, TerminalSize } from '../domain/terminal.ts';
import type { OutputFrame } from './container-output.ts';
import type { OutputPortion, ReadOutput } from './read-output.ts';

export type BuildRequest = {
  /** A checkout on this machine; `.dockerignore` is applied as the docker CLI does. */
  contextDir: string;
  /** Path of the Dockerfile inside `contextDir`, already checked to stay inside. */
  dockerfile: string;
  builder: 'buildkit' | 'legacy';
  buildArgs: Readonly<Record<string, string>>;
  labels: Readonly<Record<string, string>>;
  tag: string;
  noCache: boolean;
  /** What a `RUN --mount=type=secret,id=NAME` of the Dockerfile gets. Not with the legacy builder. */
  secrets?: Readonly<Record<string, string>>;
  /** For private base images. Only the registry they belong to is told. */
  credentials?: RegistryLogin;
};

export type BuildEvent =
  | { kind: 'step'; text: string }
  | { kind: 'output'; text: string }
  | { kind: 'warning'; text: string };

export type BuildResult =
  | { ok: true; image: ImageFacts; steps: number; cachedSteps: number }
  /** `isDiskFull`: that of the engine. */
  | { ok: false; reason: string; command?: string; exitCode?: number; isDiskFull?: boolean };

export type ImageFacts = {
  id: string;
  bytes: number;
  /** Absolute. */
  workingDir: string;
  /** It can be started as it is, or an `ONBUILD` may see to it. */
  hasCommand: boolean;
  /** As `arm64`. */
  architecture: string;
  layers: number;
  /** As `80/tcp`. */
  exposedPorts: readonly string[];
};

/** An image that is here, and what it is called here. */
export type LocalImage = ImageFacts & { name: string };

export type PullRequest = {
  /** With the digest. */
  reference: ImageReference & { digest: string };
  /** The name it gets here; else nothing is left of where it came from. */
  tag: string;
  /** Only the registry it belongs to is told. */
  credentials?: RegistryLogin;
};

export type PullProgress = {
  layers: number;
  layersDone: number;
  bytes: number;
  bytesInAll: number;
  /** A download broke off, and the engine waits before it tries again. */
  isRetrying: boolean;
};

/** A refusal of the registry, or of the engine about what the registry sent, in a few words. */
export type PullResult = { ok: true } | { ok: false; reason: string; wantsLogin?: boolean };

export type PublishRequest = {
  image: string;
  /** With the tag. */
  reference: ImageReference;
  /** Only the registry it belongs to is told. */
  credentials?: RegistryLogin;
};

export type PublishResult = { ok: true; digest: string } | { ok: false; reason: string };

export type LoginResult = { ok: true } | { ok: false; reason: string };

export type StartResult =
  /** `terminal`: when the spec asks for one. */
  | { ok: true; container: string; terminal?: EngineTerminal }
  /** `lost`: what was there a moment ago. Another container came first, or somebody removed the network; it may go well again. */
  | { ok: false; reason: string; lost?: 'address' | 'network' };

/**
 * The other end of a terminal in a container, or of the streams of a command without one. What is written to `stream` is its
 * input. Whoever has it destroys the stream.
 */
export type EngineTerminal = {
  stream: Duplex;
  output: AsyncGenerator<OutputFrame, void>;
  resize: (size: TerminalSize) => Promise<void>;
};

/** `mark`: to find it again by. */
export type ExecRequest = { command: readonly string[]; mark: string; screen?: Screen };

export type ExecResult =
  /** `exitCode`: when it is over; `undefined`: with its container. */
  | { ok: true; terminal: EngineTerminal; exitCode: () => Promise<number | undefined> }
  | { ok: false; reason: string };

export type NetworkFacts = {
  name: string;
  /** The one that overlaps. */
  subnet: string;
  labels: Readonly<Record<string, string>>;
  /** Containers are in it, running or not, other than services and gates. */
  isUsed: boolean;
};

export type NetworkMembers = {
  /** Of its IPv4 addresses. */
  subnet: string;
  /** Running or not. */
  containers: readonly { id: string; labels: Readonly<Record<string, string>>; address: string }[];
};

/** A container that is never started gives the engine's tools for files access to a volume. */
export type VolumeAccess = {
  image: string;
  volume: string;
  /** Of the container, and of the volume should it be new. */
  name: string;
  labels: Readonly<Record<string, string>>;
};

/** `records`: how many of that time there were up to this one. */
export type StampedLine = { stream: 'stdout' | 'stderr'; at: string; records: number; text: string };

export type NetworkState = {
  name: string;
  labels: Readonly<Record<string, string>>;
  subnets: readonly string[];
};

/** Of a container with one address, which is fixed, in the network it is born in. */
export type GateSpec = {
  name: string;
  image: string;
  command: readonly string[];
  labels: Readonly<Record<string, string>>;
  network: string;
  address: string;
};

export type GateState = {
  id: string;
  labels: Readonly<Record<string, string>>;
  running: boolean;
  /** Names of those it is in. */
  networks: readonly string[];
};

export type ListedContainer = {
  id: string;
  name: string;
  labels: Readonly<Record<string, string>>;
  running: boolean;
  /** The engine is about to start it again, after it ended by itself. */
  isRestarting: boolean;
  /** Of each network it is in, its address there while it runs. */
  networks: Readonly<Record<string, string>>;
};

/** What Gantry needs of a container engine. Expected refusals are results; an engine that does not answer throws. */
export interface Engine {
  /** Its version. Throws with a sentence for people when the engine is down or too old. */
  check(): Promise<string>;

  /** Whether the registry takes the login; one that cannot be asked is a refusal, too. */
  checkLogin(login: RegistryLogin, signal: AbortSignal): Promise<LoginResult>;

  /** Aborting the signal ends the build on the engine as well and rejects with the signal's reason. */
  buildImage(
    request: BuildRequest,
    report: (event: BuildEvent) => Promise<void>,
    signal: AbortSignal,
  ): Promise<BuildResult>;
  /** `undefined`: there is none. */
  inspectImage(reference: string): Promise<ImageFacts | undefined>;
  /** Asks the registry what an image is now. */
  resolveImage(
    reference: ImageReference,
    credentials: RegistryLogin | undefined,
    signal: AbortSignal,
  ): Promise<{ ok: true; digest: string } | Extract<PullResult, { ok: false }>>;
  /** Aborting the signal ends the download. What is here already is not sent again, but the registry is asked. */
  pullImage(
    request: PullRequest,
    report: (progress: PullProgress) => void,
    signal: AbortSignal,
  ): Promise<PullResult>;
  /** Aborting the signal ends the upload. */
  publishImage(request: PublishRequest, signal: AbortSignal): Promise<PublishResult>;
  /** Of the machine, as `amd64`. */
  architecture(): Promise<string>;
  /** Where it keeps images, as a path on its machine. */
  storageFolder(): Promise<string>;
  /**
   * Drops of its build cache what was used longest ago, until at most so many bytes are left; layers of images do not
   * count and stay. May take long; one at a time.
   */
  trimBuildCache(keepBytes: number): Promise<void>;
  /** How many bytes that freed since this was asked before. */
  takeTrimmedBytes(): number;
  /** Gives an image one more name. False: there is no such image. */
  tagImage(reference: string, tag: string): Promise<boolean>;
  /** Removes a tag; the layers go with the last one. Fine when it does not exist. False: a container uses it. */
  removeImage(reference: string): Promise<boolean>;
  /** Those with the label, and those with a name as `name`, in which a `*` stands for anything but a slash. */
  listImages(
    label: string,
    name: string,
  ): Promise<{ id: string; tags: string[]; labels: Record<string, string> }[]>;

  /** Creates the bridge network unless it exists. `false`: the subnet overlaps another network. */
  ensureNetwork(
    name: string,
    subnet: string,
    labels: Readonly<Record<string, string>>,
    ipv6Subnet?: string,
  ): Promise<boolean>;
  /** Of all networks there are. */
  takenSubnets(): Promise<string[]>;
  /** Networks, other than the one of this name, that share addresses with an IPv6 subnet. */
  networksOverlapping(ipv6Subnet: string, except: string): Promise<NetworkFacts[]>;
  removeNetwork(name: string): Promise<void>;
  /** Names of the networks with a label. */
  listNetworks(label: string): Promise<string[]>;
  /** `undefined`: there is none of that name. */
  inspectNetwork(name: string): Promise<NetworkMembers | undefined>;
  /** Puts a container into one more network, under a name. False: somebody has the address. Fine when it is in it. */
  connectNetwork(network: string, container: string, alias: string, address: string): Promise<boolean>;
  /** Fine when it is not in it. */
  disconnectNetwork(network: string, container: string): Promise<void>;
  describeNetworks(label: string): Promise<NetworkState[]>;

  /** Makes an image of one layer. */
  importImage(tag: string, tar: Readable): Promise<void>;
  /** Starts a container that hands connections on and comes back after crashes and restarts; returns its id. */
  startGate(spec: GateSpec): Promise<string>;
  /** Says a line to it; resolves with its answer. */
  tellGate(container: string, line: string): Promise<string>;
  /** Gates that have a label as well. */
  listGates(label: string): Promise<GateState[]>;

  /** Names of the volumes with a label. */
  listVolumes(label: string): Promise<string[]>;
  /** With all data in it. `false`: a container has it, if only a stopped one. Fine when it does not exist. */
  removeVolume(name: string): Promise<boolean>;
  /** A tar of everything in a volume, below `data/`. */
  readVolume(
    access: VolumeAccess,
    take: (tar: Readable) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void>;
  /** Unpacks such a tar into a volume. A tar that is none is a refusal, after which the volume may hold parts of it. */
  writeVolume(
    access: VolumeAccess,
    tar: Readable,
    signal: AbortSignal,
  ): Promise<{ ok: true } | { ok: false; reason: string }>;

  /**
   * Creates and starts. When the engine refuses to start it, nothing is left behind. A command that is missing in the
   * image shows only when the container has exited: `startFailure` tells.
   */
  startContainer(spec: ContainerSpec): Promise<StartResult>;
  /**
   * Makes the engine restart it, after crashes and after its own restarts. Until then a container that exits stays down,
   * so that a candidate that crashes can be inspected.
   */
  keep(container: string): Promise<void>;
  inspect(container: string): Promise<ContainerState | undefined>;
  /**
   * Why the command of an exited container could not be started; `undefined` when it could. `output` is the end of what it
   * printed on a terminal, which is not logged.
   */
  startFailure(container: string, output?: string): Promise<string | undefined>;
  /** Resolves when the container stops running, with its state then; `undefined` when it is gone. */
  waitForExit(container: string, signal: AbortSignal): Promise<ContainerState | undefined>;
  listContainers(label: string): Promise<ContainerState[]>;
  /** Like `listContainers`, but little work. */
  listNames(label: string): Promise<ListedContainer[]>;
  /** What its processes need, without what the kernel keeps of files and could drop. */
  memoryUsed(container: string): Promise<number | undefined>;
  /** Says which containers with a label start, end or go, until the signal aborts or the connection breaks. */
  watchContainers(
    label: string,
    report: (container: string, exitCode?: number) => void,
    signal: AbortSignal,
  ): Promise<void>;
  /** Its lines with their times, from where somebody has stopped reading. */
  readOutput(
    container: string,
    how: ReadOutput,
    report: (portion: OutputPortion) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void>;
  /** Everything it prints, from its first line until it stops. */
  followOutput(
    container: string,
    report: (lines: string[]) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void>;
  /** The last lines it printed, oldest first, as text with control sequences removed. */
  lastOutput(container: string, lines: number): Promise<string[]>;
  /** Runs `sh -c command` in the container; on abort or after `timeoutMs` the process is killed. */
  exec(
    container: string,
    command: string,
    report: (line: string) => Promise<void>,
    options: { timeoutMs: number; signal: AbortSignal },
  ): Promise<{ exitCode: number | 'timed out' }>;
  /** Starts a command of somebody in a container that runs. */
  startExec(container: string, request: ExecRequest): Promise<ExecResult>;
  /** With its children. Fine when it is over. */
  killExec(container: string, mark: string): Promise<void>;
  /** SIGTERM, after `graceMs` SIGKILL; it stays stopped, also after a reboot, until it is started again. */
  stop(container: string, graceMs: number): Promise<void>;
  /** Starts a stopped container again. */
  startAgain(container: string): Promise<StartResult>;
  /** SIGTERM, after `graceMs` SIGKILL, then removal. Fine when it does not exist. */
  stopAndRemove(container: string, graceMs: number): Promise<void>;
}
