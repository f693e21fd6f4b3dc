import { setTimeout as sleep } from 'node:timers/promises';
import { EngineAway } from '../domain/engine-away.ts';
import type { EngineClient } from './engine-client.ts';

const askEveryMs = 5000;
/** Nothing of the work keeps it busy yet. */
const firstTimeoutMs = 10_000;

/**
 * For work that may be silent for long on a connection of its own: asks the engine beside it, at once and again and again, and
 * aborts the work when that is not answered.
 */
export async function whileAnswering<T>(
  client: EngineClient,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const hanging = new AbortController();
  const ask = async (timeoutMs?: number): Promise<void> => {
    await client
      .call('asking whether it is there', (docker) => docker.ping(), timeoutMs)
      .catch((error: unknown) => {
        // One that is gone breaks the connection of the work.
        if (error instanceof EngineAway && error.how === 'hanging') hanging.abort(error);
      });
  };
  const asking = (async () => {
    await ask(firstTimeoutMs);
    for (;;) {
      await sleep(askEveryMs, undefined, { signal: over.signal });
      await ask();
    }
  })();
  asking.catch(() => {}); // over
  try {
    return await work(AbortSignal.any([signal, hanging.signal]));
  } catch (error) {
    signal.throwIfAborted();
    hanging.signal.throwIfAborted();
    throw error;
  } finally {
    over.abort();
  }
}
