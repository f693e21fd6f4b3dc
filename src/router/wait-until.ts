import { setTimeout as sleep } from 'node:timers/promises';

type Wait = { forMs: number; everyMs: number };

/** Asks again and again until the answer is something, or nothing within the time. An error counts as "not yet". */
export async function waitUntil<T>(
  { forMs, everyMs }: Wait,
  ask: () => Promise<T | undefined>,
): Promise<T | undefined> {
  const deadline = performance.now() + forMs;
  for (;;) {
    const answer = await ask().catch(() => undefined);
    if (answer !== undefined) return answer;
    if (performance.now() >= deadline) return undefined;
    await sleep(everyMs);
  }
}
