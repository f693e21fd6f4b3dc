import { setTimeout as sleep } from 'node:timers/promises';
import { type ContainerSpec, labels } from '../domain/container.ts';
import { containerConfig } from './container-config.ts';
import { lastOutput } from './container-output.ts';
import { containerState, hasExited } from './container-state.ts';
import type { StartResult } from './engine.ts';
import type { EngineClient, RawRequest } from './engine-client.ts';
import { removeContainer } from './remove-container.ts';
import { explainInitExit, explainRefusal } from './start-refusal.ts';

const startTimeoutMs = 60_000;
/** How long init may take until it has handed over to the app's command. */
const handOverTimeoutMs = 2_000;

export async function startContainer(client: EngineClient, spec: ContainerSpec): Promise<StartResult> {
  const obstacle = await removeEarlier(client, spec);
  if (obstacle !== undefined) return { ok: false, reason: obstacle };

  const options: RawRequest = { _query: { name: spec.name }, _body: containerConfig(spec) };
  const created = await client.ask('creating a container', (docker, abortSignal) =>
    docker.createContainer({ ...options, abortSignal }),
  );
  if (!created.ok) return { ok: false, reason: explainRefusal(created.refusal.message, spec.image) };

  const { id } = created.value;
  try {
    const reason = await start(client, id, spec.image);
    if (reason === undefined) return { ok: true, container: id };
    await removeContainer(client, id);
    return { ok: false, reason };
  } catch (error) {
    await removeContainer(client, id).catch(() => undefined);
    throw error;
  }
}

/** The step may have run before, up to any point. */
async function removeEarlier(client: EngineClient, spec: ContainerSpec): Promise<string | undefined> {
  const found = await client.ask('looking for a container', (docker, abortSignal) =>
    docker.getContainer(spec.name).inspect({ abortSignal }),
  );
  if (!found.ok) return undefined;
  const existing = found.value.Config.Labels ?? {};
  const isOurs = [labels.store, labels.app].every(
    (label) => spec.labels[label] !== undefined && existing[label] === spec.labels[label],
  );
  if (!isOurs) return `the container name ${spec.name} is taken by a container that is not ours`;
  await removeContainer(client, found.value.Id);
  return undefined;
}

async function start(client: EngineClient, id: string, image: string): Promise<string | undefined> {
  const started = await client.ask(
    'starting a container',
    (docker, abortSignal) => docker.getContainer(id).start({ abortSignal }),
    startTimeoutMs,
  );
  if (!started.ok) return explainRefusal(started.refusal.message, image);
  return await initFailure(client, id);
}

/** Waits until init has become, or failed to become, the parent of the app; a crash of the app itself is not our matter. */
async function initFailure(client: EngineClient, id: string): Promise<string | undefined> {
  const deadline = performance.now() + handOverTimeoutMs;
  while (performance.now() < deadline) {
    const processes = await client.ask('listing processes', (docker, abortSignal) =>
      docker.getContainer(id).top({ abortSignal }),
    );
    if (processes.ok && hasHandedOver(processes.value)) return undefined;
    const state = await client.call('inspecting a container', (docker, abortSignal) =>
      docker.getContainer(id).inspect({ abortSignal }),
    );
    if (hasExited(containerState(state))) {
      return explainInitExit(state.State.ExitCode, await lastOutput(client, id, 5));
    }
    await sleep(10);
  }
  return undefined;
}

/** The list is null when the container ends at this moment. */
type Processes = { Titles: string[] | null; Processes: string[][] | null };

function hasHandedOver(listed: Processes): boolean {
  const command = (listed.Titles ?? []).findIndex((title) => title === 'CMD' || title === 'COMMAND');
  return (listed.Processes ?? []).some((process) => !/docker-init|tini/.test(process[command] ?? ''));
}
