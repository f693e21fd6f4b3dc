import { swapOrder } from '../domain/app-options.ts';
import { type Problem, Stopped } from '../domain/deployment.ts';
import type { ReleaseImage } from '../domain/release.ts';
import type { Endpoint } from '../domain/route.ts';
import { safeText } from '../domain/safe-text.ts';
import { messageOf } from '../errors.ts';
import { failpoint } from '../failpoint.ts';
import type { Attempt } from './attempt.ts';
import { seconds } from './deploy-log.ts';
import type { Candidate } from './start-candidate.ts';

/** Longer than this nobody is kept waiting for requests of the old release; they go on in the background. */
const watchDrainMs = 1000;

/** Points the route at the candidate and waits until every router follows. After it, the new release serves. */
export async function switchRoute(
  attempt: Attempt,
  candidate: Candidate,
  image: ReleaseImage,
): Promise<Problem | undefined> {
  const { deployment, serving, log, tools } = attempt;
  await log.heading(
    serving === undefined
      ? `Opening traffic to v${deployment.number}`
      : `Switching traffic v${serving} -> v${deployment.number}`,
  );
  // Nobody has asked for other settings because a release crashed.
  const isWanted = deployment.rollbackTo !== undefined && deployment.trigger !== 'crash';
  const plan = isWanted ? await tools.planGoBack(attempt) : undefined;
  await failpoint('before route');
  attempt.guard();
  // Whatever comes of the next call, the store may say that these containers serve: only the sweep may remove them now.
  candidate.keep();
  const version = await tools
    .switchRoute(attempt, candidate.endpoints, image, plan?.back)
    .catch((error: unknown) => {
      if (error instanceof Stopped) candidate.letGo();
      throw error;
    });
  await failpoint('after route');
  const problem = await confirmSwitch(attempt, version, candidate.endpoints);
  if (!problem && plan) await tellGoneBack(attempt, plan.waiting);
  return problem;
}

async function tellGoneBack(
  { deployment, log, serving }: Attempt,
  waiting: readonly string[],
): Promise<void> {
  await log.detail(
    `the variables and options of ${deployment.app} are those of v${deployment.rollbackTo} again`,
  );
  if (waiting.length > 0)
    await log.warning(
      `changed after v${serving} and never in force: ${safeText(waiting.join(', '), 300)}; the next deployment has it`,
    );
}

/** Also where a deployment goes on whose worker died after its switch. */
export async function confirmSwitch(
  attempt: Attempt,
  version: number,
  endpoints: readonly Endpoint[],
): Promise<Problem | undefined> {
  const { deployment, log, tools, signal } = attempt;
  const applied = (limitMs: number): Promise<boolean> =>
    tools.routeApplied(deployment.app, version, limitMs, signal);
  let isApplied = await applied(5000);
  if (!isApplied) {
    await log.detail('waiting for the router');
    isApplied = await applied(tools.limits.switchTimeoutMs);
  }
  if (isApplied) {
    // A candidate that crashed was to stay down and be looked at; what serves is to come back, also after a reboot.
    // The release serves; that it may not come back after a reboot is no reason to say anything else.
    await Promise.all(endpoints.map(({ container }) => tools.engine.keep(container))).catch(
      (error: unknown) =>
        log.warning(`v${deployment.number} would not restart by itself: ${messageOf(error)}`),
    );
    return undefined;
  }
  attempt.guard();
  await tools.switchBack(attempt);
  return {
    reason: 'the router did not take the new route',
    hints: ['is the server running?  gantry status'],
  };
}

/** Says how the replaced release ended. It is stopped once nothing is in flight, by whoever sees that first. */
export async function reportDrain(attempt: Attempt): Promise<void> {
  const { deployment, serving, log, tools } = attempt;
  if (serving === undefined || serving === deployment.number) return;
  if (swapOrder(deployment.options).order === 'stop-first') return; // stopped before
  const began = performance.now();
  const idle = await tools.drained(deployment.app, watchDrainMs);
  await log.detail(
    idle
      ? `v${serving} drained in ${seconds(performance.now() - began)} and is stopped`
      : `v${serving} finishes its open requests in the background`,
  );
}
