import { Agent, get } from 'node:http';
import type { ContainerState } from '../domain/container.ts';
import type { Problem } from '../domain/deployment.ts';
import type { Endpoint } from '../domain/route.ts';
import type { Attempt } from './attempt.ts';
import { seconds } from './deploy-log.ts';
import { explainUnhealthy, type Symptom } from './explain-unhealthy.ts';
import { listeningSockets } from './listening-sockets.ts';

/** The first answer usually comes within milliseconds, so the first questions do, too. */
const firstPauseMs = 10;
const longestPauseMs = 250;
const answerTimeoutMs = 5000;
/** An app that has not answered by then may be a mistake; the pusher need not wait for the deadline to see which. */
const sayWhyAfterMs = 5000;

/** A command that does not exist is a failed start, whenever it shows. */
export type Unhealthy = Problem & { step: 'start' | 'health check' };

/** Waits until the app answers 200 at its container's address, or cannot any more. */
export async function awaitHealthy(attempt: Attempt, candidate: Endpoint): Promise<Unhealthy | undefined> {
  const { settings, log, tools, signal } = attempt;
  const began = performance.now();
  const deadline = began + tools.limits.healthTimeoutMs;
  const watching = new AbortController();
  const exit = new AbortController();
  let exited: ContainerState | 'gone' | undefined;
  void tools.engine
    .waitForExit(candidate.container, AbortSignal.any([signal, watching.signal]))
    .then((state) => {
      exited = state ?? 'gone';
      exit.abort(); // a connection to an address that is gone hangs for seconds
    })
    .catch(() => {}); // asked again below when the time is over

  try {
    let symptom: Symptom = { kind: 'refused' };
    let pauseMs = firstPauseMs;
    let saidWhy = false;
    for (let tries = 1; ; tries += 1) {
      signal.throwIfAborted();
      if (exited) return await explain(attempt, candidate, { kind: 'exited', state: exited }, 0);
      const patience = Math.ceil(Math.min(answerTimeoutMs, Math.max(50, deadline - performance.now())));
      const answer = await ask(
        candidate,
        settings.healthPath,
        AbortSignal.any([AbortSignal.timeout(patience), exit.signal]),
      );
      if (answer.kind === 'answered' && answer.status === 200) {
        const count = tries === 1 ? '1 try' : `${tries} tries`;
        await log.detail(
          `GET ${settings.healthPath} -> 200 after ${seconds(performance.now() - began)} (${count})`,
        );
        return undefined;
      }
      symptom = answer;
      if (performance.now() >= deadline) break;
      if (!saidWhy && performance.now() - began > sayWhyAfterMs) {
        saidWhy = true;
        const { reason, details = [] } = await explain(
          attempt,
          candidate,
          symptom,
          performance.now() - began,
        );
        await log.detail(
          `not yet: ${[reason, ...details].join(', ')}; waiting up to ${seconds(tools.limits.healthTimeoutMs)}`,
        );
      }
      await pause(pauseMs, AbortSignal.any([signal, exit.signal]));
      pauseMs = Math.min(pauseMs * 1.5, longestPauseMs);
    }
    const state = await tools.engine.inspect(candidate.container);
    if (!state?.running) symptom = { kind: 'exited', state: state ?? 'gone' };
    return await explain(attempt, candidate, symptom, performance.now() - began);
  } finally {
    watching.abort();
  }
}

async function explain(
  attempt: Attempt,
  candidate: Endpoint,
  symptom: Symptom,
  waitedMs: number,
): Promise<Unhealthy> {
  const { engine } = attempt.tools;
  if (symptom.kind === 'exited') {
    const reason = await engine.startFailure(candidate.container).catch(() => undefined);
    if (reason !== undefined) return { step: 'start', reason };
  }
  const state = await engine.inspect(candidate.container).catch(() => undefined);
  const listeners = state?.pid ? await listeningSockets(state.pid) : [];
  const lastLines = await engine.lastOutput(candidate.container, 20).catch(() => []);
  return {
    step: 'health check',
    ...explainUnhealthy(symptom, {
      path: attempt.settings.healthPath,
      port: candidate.port,
      listeners,
      waitedMs,
      memoryBytes: attempt.tools.limits.memoryBytes,
    }),
    lastLines,
  };
}

async function ask(endpoint: Endpoint, path: string, signal: AbortSignal): Promise<Symptom> {
  return new Promise((resolve) => {
    const request = get(
      {
        host: endpoint.address,
        port: endpoint.port,
        path,
        agent: new Agent({ keepAlive: false }),
        signal,
        headers: { 'user-agent': 'gantry-health-check', accept: '*/*', connection: 'close' },
      },
      (response) => {
        resolve({ kind: 'answered', status: response.statusCode ?? 0 });
        response.destroy();
      },
    );
    request.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'EHOSTUNREACH') resolve({ kind: 'refused' });
      else if (error.name === 'AbortError' || error.name === 'TimeoutError') resolve({ kind: 'silent' });
      else resolve({ kind: 'broken', message: error.message });
    });
  });
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
