import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineRefusal } from './engine-refusal.ts';
import { isContainerdAway } from './start-refusal.ts';

/** The engine starts containerd again ten seconds after it died. */
const returnLimitMs = 30_000;
const askEveryMs = 500;

type Answer = { ok: true } | { ok: false; refusal: EngineRefusal };

/**
 * Asks again and again while the engine has lost containerd: what runs goes on without that, but nothing can be started
 * or changed. To be used for both; to stop something the engine waits itself.
 */
export async function outliveContainerd<T extends Answer>(ask: () => Promise<T>): Promise<T> {
  const began = performance.now();
  for (;;) {
    const answer = await ask();
    const isLate = performance.now() - began > returnLimitMs;
    if (answer.ok || isLate || !isContainerdAway(answer.refusal.message)) return answer;
    await sleep(askEveryMs);
  }
}
