import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineClient } from './engine-client.ts';

const removeTimeoutMs = 60_000;

/** Kills and removes; fine when it is gone. Resolves when its name and address are free again. */
export async function removeContainer(client: EngineClient, container: string): Promise<void> {
  const removed = await client.ask(
    'removing a container',
    (docker, abortSignal) => docker.getContainer(container).remove({ force: true, v: true, abortSignal }),
    removeTimeoutMs,
  );
  if (removed.ok || removed.refusal.status === 404) return;
  if (removed.refusal.status !== 409)
    throw new Error(`could not remove ${container}: ${removed.refusal.message}`);
  await awaitRemoval(client, container);
}

/** 409: somebody else is removing it at this moment. */
async function awaitRemoval(client: EngineClient, container: string): Promise<void> {
  const deadline = performance.now() + removeTimeoutMs;
  while (performance.now() < deadline) {
    const found = await client.ask('inspecting a container', (docker, abortSignal) =>
      docker.getContainer(container).inspect({ abortSignal }),
    );
    if (!found.ok && found.refusal.status === 404) return;
    await sleep(50);
  }
  throw new Error(`the engine does not finish removing the container ${container}`);
}
