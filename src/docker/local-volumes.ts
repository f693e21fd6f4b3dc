import type { EngineClient } from './engine-client.ts';

export async function listVolumes(client: EngineClient, label: string): Promise<string[]> {
  const { Volumes } = await client.call('listing volumes', (docker, abortSignal) =>
    docker.listVolumes({ filters: { label: [label] }, abortSignal }),
  );
  return (Volumes ?? []).map((volume) => volume.Name);
}

/** `false`: a container has it. */
export async function removeVolume(client: EngineClient, name: string): Promise<boolean> {
  const removed = await client.ask('removing a volume', (docker, abortSignal) =>
    docker.getVolume(name).remove({ abortSignal }),
  );
  if (removed.ok || removed.refusal.status === 404) return true;
  if (removed.refusal.status === 409) return false;
  throw new Error(`could not remove the volume ${name}: ${removed.refusal.message}`);
}
