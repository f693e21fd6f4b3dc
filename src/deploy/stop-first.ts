import { setTimeout as sleep } from 'node:timers/promises';
import type { AppName } from '../domain/app.ts';
import { swapOrder } from '../domain/app-options.ts';
import { labels } from '../domain/container.ts';
import { type Problem, Stopped } from '../domain/deployment.ts';
import type { Endpoint } from '../domain/route.ts';
import { messageOf } from '../errors.ts';
import { failpoint } from '../failpoint.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import type { Attempt, Owned } from './attempt.ts';
import { seconds } from './deploy-log.ts';
import { healthChecks, probe } from './health-check.ts';

const noticeAfterMs = 5000;
/** The router cuts what has not ended at the limit; this much longer and it does not work. */
const drainGraceMs = 10_000;

/**
 * The time in which nothing serves, because two releases cannot run side by side. Unless the next release has taken over,
 * its end is that what served is started again.
 */
export type Gap = { takenOver: () => Promise<void>; [Symbol.asyncDispose]: () => Promise<void> };

const noGap: Gap = { takenOver: async () => {}, [Symbol.asyncDispose]: async () => {} };

/** Drains and stops what serves, if the next release cannot run beside it. */
export async function makeRoom(attempt: Attempt): Promise<{ gap: Gap } | { problem: Problem }> {
  const { deployment, serving, log, tools } = attempt;
  const { order, because } = swapOrder(deployment.options);
  if (order === 'start-first' || serving === undefined) return { gap: noGap };
  await log.heading(`Stopping v${serving} before v${deployment.number} starts: ${because}`);
  attempt.guard();
  let isOver = false;
  let stopped: readonly Endpoint[] = [];
  const gap: Gap = {
    takenOver: async () => {
      isOver = true;
      // What cannot be removed now is swept later.
      await Promise.allSettled(stopped.map(({ container }) => tools.engine.stopAndRemove(container, 0)));
    },
    [Symbol.asyncDispose]: async () => {
      if (!isOver) await comeBack(attempt);
    },
  };
  try {
    const began = performance.now();
    const { version, endpoints } = await tools.pauseRoute(deployment.app);
    stopped = endpoints;
    const isFree = await isLetGo(attempt, version);
    if (isFree) {
      attempt.guard();
      await Promise.all(
        stopped.map(({ container }) => tools.engine.stop(container, tools.limits.stopTimeoutMs)),
      );
      await log.detail(
        `v${serving} is stopped after ${seconds(performance.now() - began)}; visitors get a 503 until v${deployment.number} is healthy`,
      );
      return { gap };
    }
  } catch (error) {
    await gap[Symbol.asyncDispose]();
    throw error;
  }
  await gap[Symbol.asyncDispose]();
  return { problem: routerIsAway };
}

async function isLetGo({ deployment, log, tools, signal }: Attempt, version: number): Promise<boolean> {
  const { app } = deployment;
  const { switchTimeoutMs, drainTimeoutMs } = tools.limits;
  if (!(await tools.routeApplied(app, version, noticeAfterMs, signal))) {
    await log.detail('waiting for the router');
    if (!(await tools.routeApplied(app, version, switchTimeoutMs, signal))) return false;
  }
  return tools.drained(app, drainTimeoutMs + drainGraceMs);
}

const routerIsAway: Problem = {
  reason: 'the router did not let go of the release that serves',
  hints: ['is the server running?  gantry status'],
};

/** Whatever ended the deployment, also an abort, must not leave the app without what served it. */
async function comeBack(attempt: Attempt): Promise<void> {
  const { deployment, serving, log, tools, assertOwned } = attempt;
  const began = performance.now();
  try {
    assertOwned();
    await resumeServing({ tools, guard: assertOwned }, deployment.app, tools.limits.healthTimeoutMs);
    await log.detail(`v${serving} is started again and serves after ${seconds(performance.now() - began)}`);
  } catch (error) {
    // Whoever has the app now does this before anything else.
    if (error instanceof Stopped) return;
    await log.warning(`v${serving} could not be started again: ${messageOf(error)}`);
  }
}

/**
 * Starts what was stopped for a release that did not make it, and routes to it again. Nothing to do for an app that has
 * nothing paused. Also for a worker that finds what a dead one left. Waits at most that long for an answer of theirs.
 */
export async function resumeServing({ tools, guard }: Owned, app: AppName, limitMs: number): Promise<void> {
  const { engine } = tools;
  const paused = await tools.paused(app);
  if (paused.length === 0) return;
  await failpoint('before resume');
  const newest = Math.max(...paused.map(({ release }) => release));
  for (const container of await engine.listContainers(`${labels.app}=${app}`)) {
    const isOurs = container.labels[labels.store] === tools.storeId;
    // The candidate they were stopped for: the two must not meet.
    if (!isOurs || Number(container.labels[labels.release]) <= newest) continue;
    guard();
    await engine.stopAndRemove(container.id, 0);
  }
  const there: Endpoint[] = [];
  for (const endpoint of paused) {
    if (!(await engine.inspect(endpoint.container))) continue; // somebody else removed it
    guard();
    const started = await engine.startAgain(endpoint.container);
    if (!started.ok) throw new Error(started.reason);
    await engine.keep(endpoint.container);
    there.push(endpoint);
  }
  await Promise.all(there.map((endpoint) => answers(endpoint, limitMs)));
  const version = await tools.resumeRoute(
    app,
    there.map(({ container }) => container),
  );
  await tools.routeApplied(app, version, noticeAfterMs, new AbortController().signal);
  if (there.length === 0) throw new Error('its containers are gone');
}

/** It has been healthy before, so any answer on any of its ports will do, and at the limit none. */
async function answers({ address, port, tcpPort = port }: Endpoint, limitMs: number): Promise<void> {
  const deadline = performance.now() + limitMs;
  const checks = [false, true].flatMap((hasTcp) =>
    healthChecks({ healthPaths: [], healthCheck: 'http', port, tcpPort }, hasTcp),
  );
  while (performance.now() < deadline) {
    const limit = timeoutSignal(Math.min(5000, limitMs));
    const seen = await Promise.all(checks.map((check) => probe(address, check, limit)));
    if (seen.some(({ kind }) => kind === 'answered' || kind === 'connected')) return;
    await sleep(50);
  }
}
