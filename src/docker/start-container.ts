import type { Duplex } from 'node:stream';
import { type ContainerSpec, labels } from '../domain/container.ts';
import { attachTerminal } from './attach-terminal.ts';
import { containerConfig, needsHostUsers } from './container-config.ts';
import type { EngineTerminal, StartResult } from './engine.ts';
import type { EngineClient, RawRequest } from './engine-client.ts';
import type { EngineRefusal } from './engine-refusal.ts';
import { outliveContainerd } from './outlive-containerd.ts';
import { removeContainer } from './remove-container.ts';
import { explainRefusal, lostPlace } from './start-refusal.ts';

const startTimeoutMs = 60_000;

export async function startContainer(client: EngineClient, spec: ContainerSpec): Promise<StartResult> {
  const isRemapped = needsHostUsers(spec) && (await remapsUsers(client));
  const options: RawRequest = { _query: { name: spec.name }, _body: containerConfig(spec, isRemapped) };
  const create = () =>
    client.ask('creating a container', (docker, abortSignal) =>
      docker.createContainer({ ...options, abortSignal }),
    );
  let created = await create();
  if (!created.ok && created.refusal.status === 409) {
    const obstacle = await removeEarlier(client, spec);
    if (obstacle !== undefined) return { ok: false, reason: obstacle };
    created = await create();
  }
  if (!created.ok) return refused(created.refusal.message, spec);

  const { id } = created.value;
  try {
    const unjoined = await joinNetworks(client, id, spec.moreNetworks ?? []);
    if (unjoined !== undefined) {
      await removeContainer(client, id);
      return { ok: false, reason: unjoined };
    }
    const started = await outliveContainerd(() => attachAndStart(client, id, spec));
    if (started.ok)
      return { ok: true, container: id, ...(started.terminal && { terminal: started.terminal }) };
    await removeContainer(client, id);
    return refused(started.refusal.message, spec);
  } catch (error) {
    await removeContainer(client, id).catch(() => undefined);
    throw error;
  }
}

/** A start that is refused has closed what was attached. */
async function attachAndStart(
  client: EngineClient,
  id: string,
  spec: ContainerSpec,
): Promise<{ ok: true; terminal?: EngineTerminal } | { ok: false; refusal: EngineRefusal }> {
  const stdin = spec.stdin && (await attachStdin(client, id));
  const terminal = spec.terminal && (await attachTerminal(client, id));
  // Beside the start: a quick command asks for the size at once.
  const [started] = await Promise.all([start(client, id), spec.terminal && terminal?.resize(spec.terminal)]);
  stdin?.end(spec.stdin);
  if (started.ok) return { ok: true, ...(terminal && { terminal }) };
  terminal?.stream.destroy();
  return started;
}

function refused(message: string, { image, network }: ContainerSpec): StartResult {
  const lost = lostPlace(message, network);
  return { ok: false, reason: explainRefusal(message, image), ...(lost && { lost }) };
}

/** Before the start, so that the command finds them. The engine takes one network with "create" only, before its release 25. */
async function joinNetworks(
  client: EngineClient,
  id: string,
  names: readonly string[],
): Promise<string | undefined> {
  for (const name of names) {
    const joined = await client.ask('connecting a network', (docker) =>
      docker.getNetwork(name).connect({ Container: id }),
    );
    if (joined.ok) continue;
    return joined.refusal.status === 404
      ? `there is no Docker network ${name} any more`
      : `cannot be in the network ${name}: ${joined.refusal.message}`;
  }
  return undefined;
}

/** Root in a container is somebody else outside (`userns-remap`). */
async function remapsUsers(client: EngineClient): Promise<boolean> {
  const info = (await client.call('asking for its settings', (docker) => docker.info())) as {
    SecurityOptions?: string[] | null;
  };
  return (info.SecurityOptions ?? []).some((option) => option.split(',').includes('name=userns'));
}

/** The step may have run before, up to any point. */
async function removeEarlier(client: EngineClient, spec: ContainerSpec): Promise<string | undefined> {
  const found = await client.ask('looking for a container', (docker, abortSignal) =>
    docker.getContainer(spec.name).inspect({ abortSignal }),
  );
  if (!found.ok) return undefined;
  const existing = found.value.Config.Labels ?? {};
  const isSame = (label: string): boolean =>
    spec.labels[label] !== undefined && existing[label] === spec.labels[label];
  const isOurs = isSame(labels.store) && (isSame(labels.app) || isSame(labels.service));
  if (!isOurs) return `the container name ${spec.name} is taken by a container that is not ours`;
  // We slept through the end of our lease, and it may serve by now.
  if (fenceOf(existing) > fenceOf(spec.labels))
    return `the container ${spec.name} is there already, from the worker that has the app now`;
  await removeContainer(client, found.value.Id);
  return undefined;
}

function fenceOf(marks: Readonly<Record<string, string>>): number {
  return Number(marks[labels.fence] ?? 0);
}

export async function startAgain(client: EngineClient, id: string): Promise<StartResult> {
  const started = await outliveContainerd(() => start(client, id));
  return started.ok
    ? { ok: true, container: id }
    : { ok: false, reason: explainRefusal(started.refusal.message, 'of its release') };
}

async function start(
  client: EngineClient,
  id: string,
): Promise<{ ok: true } | { ok: false; refusal: EngineRefusal }> {
  const started = await client.ask(
    'starting a container',
    (docker, abortSignal) => docker.getContainer(id).start({ abortSignal }),
    startTimeoutMs,
  );
  // 304: it runs already.
  return started.ok || started.refusal.status === 304 ? { ok: true } : started;
}

/** Before the start, or a quick command would find nothing to read. */
async function attachStdin(client: EngineClient, id: string): Promise<Duplex> {
  const stream = (await client.call('attaching to a container', (docker) =>
    docker.getContainer(id).attach({ stream: true, stdin: true, hijack: true }),
  )) as Duplex;
  // The command may end without having read it.
  stream.on('error', () => {});
  return stream;
}
