import { setTimeout as sleep } from 'node:timers/promises';
import { EngineAway } from '../domain/engine-away.ts';
import type { Attempt } from './attempt.ts';
import { seconds } from './deploy-log.ts';

const askEveryMs = 250;
/** An update of the engine takes longer than a restart. */
const returnLimitMs = 60_000;

type Result = { ok: boolean };
type Failure = { ok: false; reason: string };

/**
 * Does work of the engine, and once more should the engine be restarted meanwhile: that ends the work, in one of many ways,
 * and says nothing about it.
 */
export async function outliveEngine<T extends Result>(
  attempt: Attempt,
  what: string,
  deadline: AbortSignal,
  work: () => Promise<T>,
): Promise<T | Failure> {
  const { log, signal, guard } = attempt;
  for (let restarts = 0; ; restarts += 1) {
    const result = await work().catch((error: unknown): undefined => {
      if (!(error instanceof EngineAway) || error.how !== 'broken') throw error;
    });
    if (result?.ok) return result;
    if (result && (await isThere(attempt))) return result;
    if (restarts > 0) return { ok: false, reason: `the Docker engine restarted during the ${what}, twice` };
    await log.warning(
      `the Docker engine restarted during the ${what}; it begins again when the engine is back`,
    );
    const began = performance.now();
    const limit = AbortSignal.any([signal, deadline]);
    while (!(await isThere(attempt))) {
      signal.throwIfAborted();
      if (deadline.aborted || performance.now() - began > returnLimitMs)
        return {
          ok: false,
          reason: `the Docker engine went away during the ${what} and was not back after ${seconds(performance.now() - began)}`,
        };
      await sleep(askEveryMs, undefined, { signal: limit }).catch(() => {});
    }
    signal.throwIfAborted();
    guard();
  }
}

async function isThere({ tools }: Attempt): Promise<boolean> {
  return tools.engine.check().then(
    () => true,
    (error: unknown) => !(error instanceof EngineAway),
  );
}
