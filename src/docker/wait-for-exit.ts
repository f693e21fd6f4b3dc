import type { ContainerInspectInfo } from 'dockerode';
import type { ContainerState } from '../domain/container.ts';
import { containerState, hasExited } from './container-state.ts';
import type { EngineClient } from './engine-client.ts';
import { hasRunOutOfMemory } from './out-of-memory.ts';

export async function inspectContainer(
  client: EngineClient,
  container: string,
): Promise<ContainerState | undefined> {
  const inspected = await inspect(client, container);
  return inspected && containerState(inspected);
}

/**
 * Resolves when the container has stopped, also when that was before the call; `undefined` when it is gone.
 * The engine sends the headers of the answer once it watches, so an inspect after them leaves no gap.
 */
export async function waitForExit(
  client: EngineClient,
  container: string,
  signal: AbortSignal,
): Promise<ContainerState | undefined> {
  const known = await inspectContainer(client, container);
  if (known === undefined) return undefined;
  const answer = await client.dial('waiting for a container', {
    method: 'POST',
    path: `/containers/${known.id}/wait?`,
    query: { condition: 'next-exit' },
    signal,
  });
  try {
    const state = await inspectContainer(client, known.id);
    if (state !== undefined && !hasExited(state)) {
      for await (const _ of answer) void _;
    }
    return await inspectExited(client, known.id);
  } catch (error) {
    signal.throwIfAborted();
    throw client.explained(error, 'waiting for a container');
  } finally {
    answer.destroy();
  }
}

async function inspectExited(client: EngineClient, container: string): Promise<ContainerState | undefined> {
  const inspected = await inspect(client, container);
  if (inspected === undefined) return undefined;
  const state = containerState(inspected);
  const mayBeMemory = (inspected.HostConfig.Memory ?? 0) > 0 && state.exitCode !== 0 && !state.outOfMemory;
  if (!mayBeMemory) return state;
  return { ...state, outOfMemory: await hasRunOutOfMemory(client, inspected) };
}

async function inspect(client: EngineClient, container: string): Promise<ContainerInspectInfo | undefined> {
  const found = await client.ask('inspecting a container', (docker, abortSignal) =>
    docker.getContainer(container).inspect({ abortSignal }),
  );
  if (found.ok) return found.value;
  if (found.refusal.status === 404) return undefined;
  throw new Error(`could not inspect ${container}: ${found.refusal.message}`);
}
