import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine } from '../docker/engine.ts';
import type { ContainerState } from '../domain/container.ts';
import { EngineAway } from '../domain/engine-away.ts';

const askAgainMs = 250;

/** Resolves when the container has stopped, or is gone, also when the engine goes away meanwhile and comes back. */
export async function watchExit(
  engine: Engine,
  container: string,
  signal: AbortSignal,
): Promise<{ state: ContainerState | 'gone'; hasEngineRestarted: boolean }> {
  for (let hasEngineRestarted = false; ; hasEngineRestarted = true) {
    try {
      const state = await engine.waitForExit(container, signal);
      return { state: state ?? 'gone', hasEngineRestarted };
    } catch (error) {
      if (!(error instanceof EngineAway)) throw error;
    }
    await sleep(askAgainMs, undefined, { signal });
  }
}
