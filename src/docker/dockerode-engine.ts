import type { Readable } from 'node:stream';
import type { ContainerSpec, ContainerState } from '../domain/container.ts';
import type { ImageReference } from '../domain/image-reference.ts';
import type { RegistryLogin } from '../domain/registry-login.ts';
import {
  describeNetworks,
  ensureNetwork,
  listNetworks,
  networksOverlapping,
  removeNetwork,
  takenSubnets,
} from './app-network.ts';
import { BuildCacheTrimmer, BuildContextSweeper } from './build-cache.ts';
import { buildImage } from './build-image.ts';
import { lastOutput } from './container-output.ts';
import type {
  BuildEvent,
  BuildRequest,
  BuildResult,
  Engine,
  ExecRequest,
  ExecResult,
  GateSpec,
  GateState,
  ImageFacts,
  ListedContainer,
  LoginResult,
  NetworkFacts,
  NetworkMembers,
  NetworkState,
  PublishRequest,
  PublishResult,
  PullProgress,
  PullRequest,
  PullResult,
  StartResult,
  VolumeAccess,
} from './engine.ts';
import { defaultSocketPath, EngineClient } from './engine-client.ts';
import { type ExecOptions, execCommand } from './exec-command.ts';
import { execInTerminal } from './exec-terminal.ts';
import { followOutput } from './follow-output.ts';
import { importImage, listGates, startGate, tellGate } from './gate-container.ts';
import { killExec } from './kill-exec.ts';
import { listContainers, listNames, memoryUsed } from './list-containers.ts';
import { inspectImage, listImages, removeImage, tagImage } from './local-images.ts';
import { listVolumes, removeVolume } from './local-volumes.ts';
import { loadImages, saveImages } from './move-images.ts';
import { connectNetwork, disconnectNetwork, inspectNetwork } from './network-members.ts';
import { publishImage } from './publish-image.ts';
import { pullImage, resolveImage } from './pull-image.ts';
import { type OutputPortion, type ReadOutput, readOutput } from './read-output.ts';
import { checkLogin } from './registry-access.ts';
import { removeContainer } from './remove-container.ts';
import { keptPolicy, setRestartPolicy } from './restart-policy.ts';
import { startAgain, startContainer } from './start-container.ts';
import { explainInitExit } from './start-refusal.ts';
import { stopContainer } from './stop-container.ts';
import { readVolume, writeVolume } from './volume-archive.ts';
import { inspectContainer, waitForExit } from './wait-for-exit.ts';
import { watchContainers, watchEngine } from './watch-containers.ts';
import { whileAnswering } from './while-answering.ts';

/** The engine's API of release 20.10, the first with everything used here. */
const oldestApi = '1.41';
const checkTimeoutMs = 10_000;
const storageTimeoutMs = 3_000;

export type DockerodeEngineOptions = {
  socketPath?: string;
  /** Told when what a build leaves on the engine could not be removed; the next build tries again. */
  onTidyError?: (error: unknown) => void;
  /** Awaited for each container that was stopped and is about to go with its output. */
  beforeRemoval?: (container: string) => Promise<void>;
};

/** `time` by its own clock. */
export type EngineFacts = {
  storageDriver: string;
  storageFolder: string;
  /** Containers go on while it is restarted. */
  hasLiveRestore: boolean;
  canLimitMemory: boolean;
  canLimitSwap: boolean;
  runningContainers: number;
  time: Date;
};

export class DockerodeEngine implements Engine {
  readonly #client: EngineClient;
  readonly #sweeper: BuildContextSweeper;
  readonly #trimmer: BuildCacheTrimmer;
  readonly #beforeRemoval: (container: string) => Promise<void>;
  #storageFolder: string | undefined;

  constructor({
    socketPath = defaultSocketPath,
    onTidyError = () => undefined,
    beforeRemoval = async () => {},
  }: DockerodeEngineOptions = {}) {
    this.#client = new EngineClient(socketPath);
    this.#beforeRemoval = beforeRemoval;
    this.#trimmer = new BuildCacheTrimmer(this.#client);
    this.#sweeper = new BuildContextSweeper(this.#client, onTidyError);
  }

  async check(): Promise<string> {
    const version = await this.#client.call(
      'asking for its version',
      (docker) => docker.version(),
      checkTimeoutMs,
    );
    if (isAtLeast(version.ApiVersion, oldestApi)) return version.Version;
    throw new Error(
      `the Docker engine ${version.Version} is too old: its API is ${version.ApiVersion}, at least ${oldestApi} is needed (Docker 20.10)`,
    );
  }

  async checkLogin(login: RegistryLogin, signal: AbortSignal): Promise<LoginResult> {
    return await checkLogin(this.#client, login, signal);
  }

  async buildImage(
    request: BuildRequest,
    report: (event: BuildEvent) => Promise<void>,
    signal: AbortSignal,
  ): Promise<BuildResult> {
    const result = await whileAnswering(this.#client, signal, (limited) =>
      buildImage(this.#client, request, report, limited),
    ).finally(() => {
      if (request.builder === 'buildkit') this.#sweeper.request();
    });
    // What is left of its files may be all that fills the disk, and the next push comes at once.
    if (!result.ok && result.isDiskFull) await this.#sweeper.drain();
    return result;
  }

  /** For the doctor. */
  async facts(): Promise<EngineFacts> {
    const asked = performance.now();
    const info = (await this.#client.call(
      'asking about itself',
      (docker) => docker.info(),
      checkTimeoutMs,
    )) as Record<string, unknown>;
    // It says so in the middle of the time that the question took.
    const ago = (performance.now() - asked) / 2;
    return {
      storageDriver: String(info.Driver),
      storageFolder: String(info.DockerRootDir),
      canLimitMemory: info.MemoryLimit === true,
      hasLiveRestore: info.LiveRestoreEnabled === true,
      canLimitSwap: info.SwapLimit === true,
      runningContainers: Number(info.ContainersRunning),
      time: new Date(Date.parse(String(info.SystemTime)) + ago),
    };
  }

  /** Asked once: an engine that hangs later is to be noticed by what needs it. */
  async storageFolder(): Promise<string> {
    if (this.#storageFolder === undefined) {
      const { DockerRootDir } = (await this.#client.call(
        'asking for its storage',
        (docker) => docker.info(),
        storageTimeoutMs,
      )) as { DockerRootDir: string };
      this.#storageFolder = DockerRootDir;
    }
    return this.#storageFolder;
  }

  async trimBuildCache(keepBytes: number): Promise<void> {
    await this.#trimmer.trim(keepBytes);
  }

  takeTrimmedBytes(): number {
    return this.#trimmer.takeBytes();
  }

  async inspectImage(reference: string): Promise<ImageFacts | undefined> {
    return await inspectImage(this.#client, reference);
  }

  async tagImage(reference: string, tag: string): Promise<boolean> {
    return await tagImage(this.#client, reference, tag);
  }

  async removeImage(reference: string): Promise<boolean> {
    return await removeImage(this.#client, reference);
  }

  async resolveImage(
    reference: ImageReference,
    credentials: RegistryLogin | undefined,
    signal: AbortSignal,
  ): ReturnType<Engine['resolveImage']> {
    return await resolveImage(this.#client, reference, credentials, signal);
  }

  async pullImage(
    request: PullRequest,
    report: (progress: PullProgress) => void,
    signal: AbortSignal,
  ): Promise<PullResult> {
    return await whileAnswering(this.#client, signal, (limited) =>
      pullImage(this.#client, request, report, limited),
    );
  }

  async publishImage(request: PublishRequest, signal: AbortSignal): Promise<PublishResult> {
    return await publishImage(this.#client, request, signal);
  }

  async saveImages(names: readonly string[], signal: AbortSignal): Promise<Readable> {
    return await saveImages(this.#client, names, signal);
  }

  async loadImages(archive: Readable, signal: AbortSignal): Promise<void> {
    await loadImages(this.#client, archive, signal);
  }

  async architecture(): Promise<string> {
    const { Arch } = await this.#client.call('asking for its version', (docker) => docker.version());
    return Arch;
  }

  async listImages(label: string, name: string): ReturnType<Engine['listImages']> {
    return await listImages(this.#client, label, name);
  }

  async ensureNetwork(
    name: string,
    subnet: string,
    labels: Readonly<Record<string, string>>,
    ipv6Subnet?: string,
  ): Promise<boolean> {
    return await ensureNetwork(this.#client, name, subnet, labels, ipv6Subnet);
  }

  async takenSubnets(): Promise<string[]> {
    return await takenSubnets(this.#client);
  }

  async networksOverlapping(ipv6Subnet: string, except: string): Promise<NetworkFacts[]> {
    return await networksOverlapping(this.#client, ipv6Subnet, except);
  }

  async removeNetwork(name: string): Promise<void> {
    await removeNetwork(this.#client, name);
  }

  async listNetworks(label: string): Promise<string[]> {
    return await listNetworks(this.#client, label);
  }

  async inspectNetwork(name: string): Promise<NetworkMembers | undefined> {
    return await inspectNetwork(this.#client, name);
  }

  async connectNetwork(network: string, container: string, alias: string, address: string): Promise<boolean> {
    return await connectNetwork(this.#client, network, container, alias, address);
  }

  async disconnectNetwork(network: string, container: string): Promise<void> {
    await disconnectNetwork(this.#client, network, container);
  }

  async describeNetworks(label: string): Promise<NetworkState[]> {
    return await describeNetworks(this.#client, label);
  }

  async importImage(tag: string, tar: Readable): Promise<void> {
    await importImage(this.#client, tag, tar);
  }

  async startGate(spec: GateSpec): Promise<string> {
    return await startGate(this.#client, spec);
  }

  async tellGate(container: string, line: string): Promise<string> {
    return await tellGate(this.#client, container, line);
  }

  async listGates(label: string): Promise<GateState[]> {
    return await listGates(this.#client, label);
  }

  async listVolumes(label: string): Promise<string[]> {
    return await listVolumes(this.#client, label);
  }

  async removeVolume(name: string): Promise<boolean> {
    return await removeVolume(this.#client, name);
  }

  async readVolume(
    access: VolumeAccess,
    take: (tar: Readable) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    await readVolume(this.#client, access, take, signal);
  }

  async writeVolume(
    access: VolumeAccess,
    tar: Readable,
    signal: AbortSignal,
  ): ReturnType<Engine['writeVolume']> {
    return await writeVolume(this.#client, access, tar, signal);
  }

  async startContainer(spec: ContainerSpec): Promise<StartResult> {
    return await startContainer(this.#client, spec);
  }

  async keep(container: string): Promise<void> {
    await setRestartPolicy(this.#client, container, keptPolicy);
  }

  async inspect(container: string): Promise<ContainerState | undefined> {
    return await inspectContainer(this.#client, container);
  }

  async waitForExit(container: string, signal: AbortSignal): Promise<ContainerState | undefined> {
    return await waitForExit(this.#client, container, signal);
  }

  async startFailure(container: string, output?: string): Promise<string | undefined> {
    const state = await this.inspect(container);
    const lines = output?.trimEnd().split(/\r?\n/) ?? (await this.lastOutput(container, 5));
    return explainInitExit(state?.exitCode, lines);
  }

  async listContainers(label: string): Promise<ContainerState[]> {
    return await listContainers(this.#client, label);
  }

  async listNames(label: string): Promise<ListedContainer[]> {
    return await listNames(this.#client, label);
  }

  async memoryUsed(container: string): Promise<number | undefined> {
    return await memoryUsed(this.#client, container);
  }

  async watchContainers(
    label: string,
    report: (container: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    await watchContainers(this.#client, label, report, signal);
  }

  /** Says when the engine is there, and each time that it is there again, until the signal aborts. */
  async watchEngine(onReturn: () => void, signal: AbortSignal): Promise<void> {
    await watchEngine(this.#client, onReturn, signal);
  }

  async readOutput(
    container: string,
    how: ReadOutput,
    report: (portion: OutputPortion) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    await readOutput(this.#client, container, how, report, signal);
  }

  async followOutput(
    container: string,
    report: (lines: string[]) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    await followOutput(this.#client, container, report, signal);
  }

  async lastOutput(container: string, lines: number): Promise<string[]> {
    return await lastOutput(this.#client, container, lines);
  }

  async exec(
    container: string,
    command: string,
    report: (line: string) => Promise<void>,
    options: ExecOptions,
  ): Promise<{ exitCode: number | 'timed out' }> {
    return await execCommand(this.#client, container, command, report, options);
  }

  async startExec(container: string, request: ExecRequest): Promise<ExecResult> {
    return await execInTerminal(this.#client, container, request);
  }

  async killExec(container: string, mark: string): Promise<void> {
    await killExec(this.#client, container, mark);
  }

  async stop(container: string, graceMs: number): Promise<void> {
    await setRestartPolicy(this.#client, container, 'no');
    const stopped = await stopContainer(this.#client, container, graceMs);
    // 304: it is stopped already.
    if (stopped.ok || stopped.refusal.status === 304 || stopped.refusal.status === 404) return;
    throw new Error(`could not stop ${container}: ${stopped.refusal.message}`);
  }

  async startAgain(container: string): Promise<StartResult> {
    return await startAgain(this.#client, container);
  }

  async stopAndRemove(container: string, graceMs: number): Promise<void> {
    const stopped = await stopContainer(this.#client, container, graceMs);
    if (!stopped.ok && stopped.refusal.status === 404) return;
    await this.#beforeRemoval(container);
    // Whatever else was refused, the forced removal decides.
    await removeContainer(this.#client, container);
  }

  /** Waits for the tidying up that builds have left behind. */
  async close(): Promise<void> {
    await this.#sweeper.drain();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function isAtLeast(version: string, oldest: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = oldest.split('.').map(Number);
  return major > oldestMajor || (major === oldestMajor && minor >= oldestMinor);
}
