import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine } from '../docker/engine.ts';
import { type ContainerState, labels } from '../domain/container.ts';
import type { Problem } from '../domain/deployment.ts';
import { parseImageReference } from '../domain/image-reference.ts';
import { type ManagedService, markOf, serviceObject, serviceVolume } from '../domain/managed-service.ts';
import { safeText } from '../domain/safe-text.ts';
import type { ServiceName } from '../domain/service.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import { makeNetwork } from './app-network.ts';
import { freeAddress } from './container-spec.ts';
import { seconds } from './deploy-log.ts';
import { probe } from './health-check.ts';
import { joinNetwork } from './join-services.ts';

export type ServiceTools = {
  engine: Engine;
  storeId: string;
  storeTag: string;
  allocateSubnet: (service: ServiceName, taken: readonly string[]) => Promise<string>;
  limits: { readyMs: number; pullMs: number; graceMs: number; memoryBytes: number; diskFloorBytes: number };
};

/** A managed service as it is to run. */
export type WantedService = {
  name: ServiceName;
  managed: ManagedService;
  env: Readonly<Record<string, string>>;
  /** Those that are to reach it. */
  apps: readonly string[];
  /** Its port was open before; a look at its container is enough. */
  isReady: boolean;
};

export type Turn = { signal: AbortSignal; guard: () => void };

const lookEveryMs = 100;
const answerMs = 1000;

/**
 * Brings a service to run as it is wanted, in the networks of the apps that are to reach it and no others. Fine to repeat
 * from any point. What is wrong is a problem; an engine that does not answer throws.
 */
export async function keepService(
  tools: ServiceTools,
  wanted: WantedService,
  turn: Turn,
): Promise<Problem | undefined> {
  const { engine } = tools;
  const containers = await containersOf(tools, wanted.name);
  const mark = markOf(wanted.managed, wanted.env);
  const current = containers.find(({ labels: marks }) => marks[labels.serviceMark] === mark);
  if (current?.running) {
    await joinApps(tools, wanted, current);
    if (wanted.isReady) return undefined;
    const problem = await awaitPort(tools, wanted, current.id, turn.signal);
    if (!problem) await engine.keep(current.id);
    return problem;
  }
  const image = await imageOf(tools, wanted, turn.signal);
  if (typeof image !== 'string') return image;
  turn.guard();
  for (const other of containers) await engine.stopAndRemove(other.id, tools.limits.graceMs);
  const problem = await start(tools, wanted, image, turn);
  if (!problem) await dropOtherImages(tools, wanted.name, image);
  return problem;
}

/** Nothing of it is left on the engine, its data included. Fine to repeat. */
export async function removeService(tools: ServiceTools, name: ServiceName): Promise<void> {
  const { engine, storeTag } = tools;
  const object = serviceObject(storeTag, name);
  for (const { id } of await containersOf(tools, name)) await engine.stopAndRemove(id, tools.limits.graceMs);
  await engine.removeNetwork(object);
  for (const volume of await engine.listVolumes(`${labels.service}=${name}`))
    if (volume.startsWith(`${object}.`) && !(await engine.removeVolume(volume)))
      throw new Error(`the volume ${volume} is still used`);
  await dropOtherImages(tools, name, undefined);
}

export async function containersOf(
  { engine, storeId }: ServiceTools,
  name: ServiceName,
): Promise<ContainerState[]> {
  const found = await engine.listContainers(`${labels.service}=${name}`);
  return found.filter(({ labels: marks }) => marks[labels.store] === storeId);
}

export function serviceLabels({ storeId }: ServiceTools, name: ServiceName): Record<string, string> {
  return { [labels.store]: storeId, [labels.service]: name };
}

async function start(
  tools: ServiceTools,
  wanted: WantedService,
  image: string,
  { guard, signal }: Turn,
): Promise<Problem | undefined> {
  const { engine, storeTag, limits } = tools;
  const { name, managed, env } = wanted;
  const network = serviceObject(storeTag, name);
  const marks = serviceLabels(tools, name);
  const subnet = await makeNetwork(
    (taken) => tools.allocateSubnet(name, taken),
    (range) => engine.ensureNetwork(network, range, marks),
    () => engine.takenSubnets(),
  );
  guard();
  const started = await engine.startContainer({
    name: network,
    image,
    labels: { ...marks, [labels.serviceMark]: markOf(managed, env) },
    env,
    ...(managed.command !== undefined && { command: ['sh', '-c', managed.command] }),
    network,
    address: freeAddress(subnet, [], 0) ?? '',
    memoryBytes: managed.memoryBytes ?? limits.memoryBytes,
    pidsLimit: 4096,
    volumes: [{ volume: serviceVolume(storeTag, name, managed.volume), path: managed.path }],
  });
  if (!started.ok) return { reason: safeText(started.reason, 150) };
  const state = await engine.inspect(started.container);
  if (state) await joinApps(tools, wanted, state);
  const problem = await awaitPort(tools, wanted, started.container, signal);
  if (problem) await engine.stopAndRemove(started.container, limits.graceMs);
  // From here on the engine restarts it, after crashes and after its own restarts.
  else await engine.keep(started.container);
  return problem;
}

/** Apps it is bound to, and those whose containers were told of it and still run. */
async function joinApps(
  { engine, storeId, storeTag }: ServiceTools,
  { name, apps }: WantedService,
  container: ContainerState,
): Promise<void> {
  const wanted = new Set([serviceObject(storeTag, name)]);
  const told = (await engine.listNames(`${labels.store}=${storeId}`))
    .filter(({ labels: marks }) => marks[labels.services]?.split(' ').includes(name))
    .map(({ labels: marks }) => marks[labels.app] ?? '');
  for (const app of new Set([...apps, ...told]))
    for (const network of await engine.listNetworks(`${labels.app}=${app}`))
      if (network.startsWith(`gantry-${storeTag}-`)) wanted.add(network);
  for (const network of wanted)
    if (!(network in container.networks)) await joinNetwork(engine, network, container.id, name);
  for (const network of Object.keys(container.networks))
    if (!wanted.has(network)) await engine.disconnectNetwork(network, container.id);
}

async function awaitPort(
  { engine, storeTag, limits }: ServiceTools,
  { name, managed }: WantedService,
  container: string,
  signal: AbortSignal,
): Promise<Problem | undefined> {
  const deadline = performance.now() + limits.readyMs;
  for (;;) {
    const state = await engine.inspect(container);
    if (!state?.running) return explainEnd(engine, state);
    const address = state.networks[serviceObject(storeTag, name)] ?? '';
    const check = { name: 'port', kind: 'port', port: managed.port } as const;
    const asked = AbortSignal.any([signal, timeoutSignal(answerMs)]);
    const symptom = await probe(address, check, asked);
    signal.throwIfAborted();
    if (symptom.kind === 'connected') return undefined;
    if (performance.now() > deadline)
      return {
        reason: `port ${managed.port} takes no connections after ${seconds(limits.readyMs)}`,
        lastLines: await engine.lastOutput(container, 5),
      };
    await sleep(lookEveryMs, undefined, { signal });
  }
}

async function explainEnd(engine: Engine, state: ContainerState | undefined): Promise<Problem> {
  if (!state) return { reason: 'its container was removed by somebody else' };
  const refused = await engine.startFailure(state.id).catch(() => undefined);
  if (refused !== undefined) return { reason: refused };
  return {
    reason: state.outOfMemory
      ? 'it was killed: out of memory; give it more with --memory'
      : `it exited with code ${state.exitCode}`,
    lastLines: await engine.lastOutput(state.id, 5),
  };
}

/** Under a name of ours, so that it stays whatever becomes of the other. One that is here already is not asked for elsewhere. */
export async function imageOf(
  { engine, storeTag, limits }: ServiceTools,
  { name, managed }: Pick<WantedService, 'name' | 'managed'>,
  signal: AbortSignal,
): Promise<string | Problem> {
  const tag = imageTag(storeTag, name, managed.image);
  if (await engine.inspectImage(tag)) return tag;
  if (await engine.tagImage(managed.image, tag)) return tag;
  const reference = parseImageReference(managed.image);
  if ('problem' in reference) return { reason: reference.problem };
  const deadline = AbortSignal.any([signal, timeoutSignal(limits.pullMs)]);
  const resolved =
    reference.digest === undefined
      ? await engine.resolveImage(reference, undefined, deadline)
      : { ok: true as const, digest: reference.digest };
  const pulled = resolved.ok
    ? await engine.pullImage(
        { reference: { ...reference, digest: resolved.digest }, tag },
        () => {},
        deadline,
      )
    : resolved;
  return pulled.ok ? tag : { reason: safeText(`cannot pull ${managed.image}: ${pulled.reason}`, 200) };
}

function imageRepository(storeTag: string, name: ServiceName): string {
  return `gantry-${storeTag}/${name}.service`;
}

function imageTag(storeTag: string, name: ServiceName, image: string): string {
  const hash = createHash('sha256').update(image).digest('hex').slice(0, 12);
  return `${imageRepository(storeTag, name)}:${hash}`;
}

async function dropOtherImages(
  { engine, storeTag }: ServiceTools,
  name: ServiceName,
  kept: string | undefined,
): Promise<void> {
  const repository = imageRepository(storeTag, name);
  for (const { tags } of await engine.listImages(`${labels.service}=${name}`, repository))
    for (const tag of tags)
      if (tag.startsWith(`${repository}:`) && tag !== kept) await engine.removeImage(tag);
}
