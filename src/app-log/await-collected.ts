import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine } from '../docker/engine.ts';
import { labels } from '../domain/container.ts';
import type { StoreEvent } from '../store/keys.ts';
import type { StoreEvents } from '../store/store-events.ts';

type Deps = {
  engine: Pick<Engine, 'inspect'>;
  events: StoreEvents;
  announce: (event: StoreEvent) => Promise<void>;
};

/** The removal matters more than the last lines, but who collects may just have died: another one follows by then. */
const patienceMs = 5000;

/** Resolves when all that a stopped container printed is in the log of its app, or nobody collects for long. Never rejects. */
export async function awaitCollected(deps: Deps, container: string): Promise<void> {
  const { engine, events, announce } = deps;
  const over = new AbortController();
  let stopListening = (): void => {};
  const collected = async (): Promise<void> => {
    const marks = (await engine.inspect(container))?.labels ?? {};
    const isKept = marks[labels.release] !== undefined && marks[labels.task] === undefined;
    if (!isKept) return;
    await new Promise<void>((resolve) => {
      stopListening = events.listen((event) => {
        if (event.kind === 'collected' && event.container === container) resolve();
      });
      void announce({ kind: 'collect', container });
    });
  };
  const patience = sleep(patienceMs, undefined, { signal: over.signal });
  await Promise.race([collected(), patience]).catch(() => {});
  stopListening();
  over.abort();
  await patience.catch(() => {});
}
