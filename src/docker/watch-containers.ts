import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineClient } from './engine-client.ts';

type Event = { id?: string; status?: string; Actor?: { Attributes?: { exitCode?: string } } };

/**
 * Somebody may be waiting for the first answer of what has just started, and the engine has enough to do: nothing else that
 * is done about it is in a hurry.
 */
const afterStartMs = 250;

/** Says when a container with a label has started, ends or goes, until the signal aborts or the connection breaks. */
export async function watchContainers(
  client: EngineClient,
  label: string,
  report: (container: string, exitCode?: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const filters = { type: ['container'], label: [label], event: ['start', 'die', 'destroy'] };
  const answer = await client.dial('watching containers', {
    method: 'GET',
    path: '/events?',
    query: { filters: JSON.stringify(filters) },
    signal,
  });
  try {
    for await (const line of createInterface({ input: answer })) {
      const { id, status, Actor } = JSON.parse(line) as Event;
      const exitCode = Actor?.Attributes?.exitCode;
      if (id === undefined) continue;
      if (status === 'start') setTimeout(() => signal.aborted || report(id), afterStartMs);
      else report(id, exitCode === undefined ? undefined : Number(exitCode));
    }
  } finally {
    answer.destroy();
  }
}

const lookAgainMs = 250;

/** Says when the engine is there, and each time that it is there again, until the signal aborts. */
export async function watchEngine(
  client: EngineClient,
  onReturn: () => void,
  signal: AbortSignal,
): Promise<void> {
  const filters = { type: ['daemon'] };
  while (!signal.aborted) {
    try {
      const path = '/events?';
      const query = { filters: JSON.stringify(filters) };
      const answer = await client.dial('watching the engine', { method: 'GET', path, query, signal });
      onReturn();
      for await (const _ of answer) void _;
    } catch {
      // It is away.
    }
    await sleep(lookAgainMs, undefined, { signal }).catch(() => {});
  }
}
