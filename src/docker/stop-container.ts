import type { EngineClient } from './engine-client.ts';
import type { EngineRefusal } from './engine-refusal.ts';

/** SIGTERM, after `graceMs` SIGKILL. */
export async function stopContainer(
  client: EngineClient,
  container: string,
  graceMs: number,
): Promise<{ ok: true } | { ok: false; refusal: EngineRefusal }> {
  return await client.ask(
    'stopping a container',
    (docker, abortSignal) =>
      docker.getContainer(container).stop({ t: Math.ceil(graceMs / 1000), abortSignal }),
    graceMs + 60_000,
  );
}
