import type { Problem } from '../domain/deployment.ts';
import type { Endpoint } from '../domain/route.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import { type Attempt, memoryOf } from './attempt.ts';
import { seconds } from './deploy-log.ts';
import { explainUnhealthy, type Symptom, showSymptom } from './explain-unhealthy.ts';
import { type HealthCheck, healthChecks, isHealthy, probe } from './health-check.ts';
import { listeningSockets } from './listening-sockets.ts';
import { watchExit } from './watch-exit.ts';

/** The first answer usually comes within milliseconds, so the first questions do, too. */
const firstPauseMs = 5;
const longestPauseMs = 250;
const answerTimeoutMs = 5000;
/** The engine need not be asked about an app that answers at once. */
const watchAfterMs = 25;
/** An app that has not answered by then may be a mistake; the pusher need not wait for the deadline to see which. */
const sayWhyAfterMs = 5000;
/** A process that is only to run has to do so for a moment: one that cannot ends at once. */
const runsForMs = 1000;

/** A command that does not exist is a failed start, whenever it shows. */
export type Unhealthy = Problem & { step: 'start' | 'health check' };

/** Waits until every instance passes all checks of the app, at its own address, or one cannot any more. */
export async function awaitHealthy(
  attempt: Attempt,
  instances: readonly Endpoint[],
): Promise<Unhealthy | undefined> {
  const [only] = instances;
  if (only && instances.length === 1) return instanceHealthy(attempt, only, '');
  let first: Unhealthy | undefined;
  const others = new AbortController();
  const signal = AbortSignal.any([attempt.signal, others.signal]);
  await Promise.all(
    instances.map(async (instance, number) => {
      const label = `instance ${number}: `;
      const unhealthy = await instanceHealthy({ ...attempt, signal }, instance, label).catch(
        (error: unknown) => {
          if (first) return undefined;
          throw error;
        },
      );
      if (!unhealthy || first) return;
      first = { ...unhealthy, reason: `${label}${unhealthy.reason}` };
      others.abort();
    }),
  );
  return first;
}

/** `label` is put in front of what is said about it. */
async function instanceHealthy(
  attempt: Attempt,
  candidate: Endpoint,
  label: string,
): Promise<Unhealthy | undefined> {
  const { settings, log, tools, signal } = attempt;
  const began = performance.now();
  const timeoutMs = settings.startTimeoutMs ?? tools.limits.healthTimeoutMs;
  const deadline = began + timeoutMs;
  const watching = new AbortController();
  const exit = new AbortController();
  let exited: Awaited<ReturnType<typeof watchExit>> | undefined;
  const watch = (): Promise<void> =>
    watchExit(tools.engine, candidate.container, AbortSignal.any([signal, watching.signal]))
      .then((found) => {
        exited = found;
        exit.abort(); // a connection to an address that is gone hangs for seconds
      })
      .catch(() => {}); // asked again below when the time is over
  const watchSoon = setTimeout(() => void watch(), watchAfterMs);

  try {
    const checks = healthChecks(settings, attempt.tcpPort !== undefined);
    /** What each check that has not succeeded yet saw last. */
    const unhealthy = new Map<HealthCheck, Symptom>(checks.map((check) => [check, { kind: 'refused' }]));
    if (settings.healthCheck === 'process') {
      await pause(runsForMs, AbortSignal.any([signal, exit.signal]));
      signal.throwIfAborted();
      if (exited) return await explainExit(attempt, candidate, unhealthy, exited);
      await log.detail(`${label}it runs, which is all that is asked of it`);
      if (checks.length === 0) return undefined;
    }
    let pauseMs = firstPauseMs;
    let saidWhy = false;
    for (let tries = 1; ; tries += 1) {
      signal.throwIfAborted();
      if (exited) return await explainExit(attempt, candidate, unhealthy, exited);
      const patience = Math.ceil(Math.min(answerTimeoutMs, Math.max(50, deadline - performance.now())));
      const limit = AbortSignal.any([timeoutSignal(patience), exit.signal]);
      await Promise.all(
        [...unhealthy.keys()].map(async (check) => {
          const answer = await probe(candidate.address, check, limit);
          if (!isHealthy(answer)) {
            if (settings.troubleshoot && showSymptom(answer) !== showSymptom(unhealthy.get(check) ?? answer))
              await log.detail(`${label}${check.name} -> ${showSymptom(answer)} (try ${tries})`);
            unhealthy.set(check, answer);
          } else {
            unhealthy.delete(check);
            await log.detail(
              `${label}${check.name} -> ${showSymptom(answer)} after ${seconds(performance.now() - began)} (${tries === 1 ? '1 try' : `${tries} tries`})`,
            );
          }
        }),
      );
      const [symptom] = unhealthy.values();
      if (symptom === undefined) return undefined;
      if (performance.now() >= deadline) break;
      if (!saidWhy && performance.now() - began > sayWhyAfterMs) {
        saidWhy = true;
        const { reason, details = [] } = await explain(
          attempt,
          candidate,
          unhealthy,
          symptom,
          performance.now() - began,
        );
        await log.detail(
          `${label}not yet: ${[reason, ...details].join(', ')}; waiting up to ${seconds(timeoutMs)}`,
        );
      }
      await pause(pauseMs, AbortSignal.any([signal, exit.signal]));
      pauseMs = Math.min(pauseMs * 1.25, longestPauseMs);
    }
    const state = await tools.engine.inspect(candidate.container);
    const [last] = unhealthy.values();
    const symptom: Symptom =
      state?.running && last !== undefined ? last : { kind: 'exited', state: state ?? 'gone' };
    if (symptom.kind !== 'exited' && checks.length > 1) {
      for (const [check, how] of unhealthy) await log.detail(`${label}${check.name} -> ${showSymptom(how)}`);
    }
    return await explain(attempt, candidate, unhealthy, symptom, performance.now() - began);
  } finally {
    clearTimeout(watchSoon);
    watching.abort();
  }
}

async function explainExit(
  attempt: Attempt,
  candidate: Endpoint,
  unhealthy: ReadonlyMap<HealthCheck, Symptom>,
  { state, hasEngineRestarted }: Awaited<ReturnType<typeof watchExit>>,
): Promise<Unhealthy> {
  if (hasEngineRestarted)
    return {
      step: 'health check',
      reason: 'the Docker engine restarted, and the new container ended with it',
    };
  return explain(attempt, candidate, unhealthy, { kind: 'exited', state }, 0);
}

async function explain(
  attempt: Attempt,
  candidate: Endpoint,
  unhealthy: ReadonlyMap<HealthCheck, Symptom>,
  symptom: Symptom,
  waitedMs: number,
): Promise<Unhealthy> {
  const { engine } = attempt.tools;
  if (symptom.kind === 'exited') {
    const reason = await engine.startFailure(candidate.container).catch(() => undefined);
    if (reason !== undefined) return { step: 'start', reason };
  }
  const state = await engine.inspect(candidate.container).catch(() => undefined);
  const isAlone = attempt.deployment.options.network !== 'host';
  const listeners = isAlone && state?.pid ? await listeningSockets(state.pid) : [];
  const lastLines = await engine.lastOutput(candidate.container, 20).catch(() => []);
  return {
    step: 'health check',
    ...explainUnhealthy(symptom, {
      unhealthy,
      checkCount: healthChecks(attempt.settings, attempt.tcpPort !== undefined).length,
      listeners,
      waitedMs,
      memoryBytes: memoryOf(attempt),
    }),
    lastLines,
  };
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
  });
}
