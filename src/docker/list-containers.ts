import type { ContainerInfo } from 'dockerode';
import type { ContainerState } from '../domain/container.ts';
import type { ListedContainer } from './engine.ts';
import type { EngineClient } from './engine-client.ts';
import { inspectContainer } from './wait-for-exit.ts';

/** How many are inspected at once; a list alone lacks exit codes. */
const inspectionsAtOnce = 8;

export async function listContainers(client: EngineClient, label: string): Promise<ContainerState[]> {
  const listed = await list(client, label);
  const states: ContainerState[] = [];
  for (let from = 0; from < listed.length; from += inspectionsAtOnce) {
    const batch = listed.slice(from, from + inspectionsAtOnce);
    const inspected = await Promise.all(batch.map(({ Id }) => inspectContainer(client, Id)));
    states.push(...inspected.filter((state) => state !== undefined));
  }
  return states;
}

/** One request, however many there are. */
export async function listNames(client: EngineClient, label: string): Promise<ListedContainer[]> {
  const listed = await list(client, label);
  return listed.map(({ Id, Names, Labels, State, NetworkSettings }) => ({
    id: Id,
    name: (Names[0] ?? '').replace(/^\//, ''),
    labels: Labels,
    running: State === 'running',
    isRestarting: State === 'restarting',
    networks: Object.fromEntries(
      Object.entries(NetworkSettings?.Networks ?? {}).map(([name, { IPAddress }]) => [name, IPAddress]),
    ),
  }));
}

function list(client: EngineClient, label: string): Promise<ContainerInfo[]> {
  return client.call('listing containers', (docker, abortSignal) =>
    docker.listContainers({ all: true, filters: { label: [label] }, abortSignal }),
  );
}

/** In bytes, without what is only cached. */
export async function memoryUsed(client: EngineClient, container: string): Promise<number | undefined> {
  const { memory_stats: memory } = await client.call('asking for the memory of a container', (docker) =>
    docker.getContainer(container).stats({ stream: false, 'one-shot': true }),
  );
  if (memory.usage === undefined) return undefined;
  // cgroup v1 and v2 call it differently.
  const stats = memory.stats as { total_inactive_file?: number; inactive_file?: number } | undefined;
  return memory.usage - (stats?.total_inactive_file ?? stats?.inactive_file ?? 0);
}
