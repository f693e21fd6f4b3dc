import type { EngineClient } from './engine-client.ts';
import { outliveContainerd } from './outlive-containerd.ts';

/**
 * With "unless-stopped" the engine does not start again what still ran when it was killed itself: it stops that first, and
 * then takes it for stopped by somebody.
 */
export const keptPolicy = 'always';

/** Fine when it does not exist. */
export async function setRestartPolicy(
  client: EngineClient,
  container: string,
  name: typeof keptPolicy | 'no',
): Promise<void> {
  const set = await outliveContainerd(() =>
    client.ask('setting a restart policy', (docker, abortSignal) =>
      docker.getContainer(container).update({ RestartPolicy: { Name: name }, abortSignal }),
    ),
  );
  if (!set.ok && set.refusal.status !== 404)
    throw new Error(`could not set when ${container} is restarted: ${set.refusal.message}`);
}
