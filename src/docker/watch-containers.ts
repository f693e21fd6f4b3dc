import { createInterface } from 'node:readline';
import type { EngineClient } from './engine-client.ts';

/** Says when a container with a label starts or ends, until the signal aborts or the connection breaks. */
export async function watchContainers(
  client: EngineClient,
  label: string,
  report: (container: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const filters = { type: ['container'], label: [label], event: ['start', 'die'] };
  const answer = await client.dial('watching containers', {
    method: 'GET',
    path: '/events?',
    query: { filters: JSON.stringify(filters) },
    signal,
  });
  try {
    for await (const line of createInterface({ input: answer })) {
      const { id } = JSON.parse(line) as { id?: string };
      if (id !== undefined) report(id);
    }
  } finally {
    answer.destroy();
  }
}
