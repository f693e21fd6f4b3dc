import { setTimeout as sleep } from 'node:timers/promises';
import { isRedisTrouble } from '../errors.ts';

/** Somebody waits for the answer. */
const outageLimitMs = 15_000;
const askAgainAfterMs = 250;

/**
 * Asks again while Redis is away, for as long as a person may be kept waiting. Only for what may happen twice: nobody knows
 * whether the first time was carried out.
 */
export async function overOutage<T>(ask: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + outageLimitMs;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isRedisTrouble(error) || performance.now() > deadline) throw error;
      await sleep(askAgainAfterMs);
    }
  }
}
