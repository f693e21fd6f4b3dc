import type { DeployOutcome, Problem, Step } from '../domain/deployment.ts';
import type { Attempt } from './attempt.ts';
import { awaitHealthy } from './await-healthy.ts';
import { buildImage, reuseImage } from './build-image.ts';
import { type Checkout, checkOut } from './check-out.ts';
import { runFailedHook, runSucceededHook } from './container-hooks.ts';
import { beginFreeing, problemWithDisk } from './disk-space.ts';
import { problemWithAccess, problemWithPort, warnOfAccess } from './host-access.ts';
import { readCron } from './read-cron.ts';
import { logInToRegistry } from './registry-login.ts';
import { runHostHook } from './run-hook.ts';
import { isTask, resumeTask, runTask, type TaskResult } from './run-task.ts';
import { preparePlace, startCandidate } from './start-candidate.ts';
import { makeRoom } from './stop-first.ts';
import { reportDrain, switchRoute } from './switch-route.ts';
import { keepForALook } from './troubleshoot.ts';

/**
 * Makes a commit live, or says why not. Until the route is switched nothing touches what serves, and a candidate that
 * is not kept removes itself, whether a step fails, throws or is aborted.
 */
export async function deploy(attempt: Attempt): Promise<DeployOutcome> {
  const { hooks } = attempt.settings;

  const notAllowed = problemWithAccess(attempt);
  if (notAllowed) return failed('checkout', notAllowed);
  // A task listens on nothing.
  const takenPort = isTask(attempt) ? undefined : await problemWithPort(attempt);
  if (takenPort) return failed('checkout', takenPort);
  const full = await problemWithDisk(attempt);
  if (full) return failed('build', full);
  await warnOfAccess(attempt);

  if (isTask(attempt)) {
    const resumed = await resumeTask(attempt);
    if (resumed) return endOfTask(resumed);
  }

  const place = preparePlace(attempt);
  place.catch(() => {}); // whoever awaits it below learns of it; a deployment that fails before does not need it

  const source = needsCheckout(attempt) ? await checkOut(attempt) : { checkout: undefined };
  if ('problem' in source) return failed('checkout', source.problem);
  await using checkout = source.checkout;

  const made = await makeImage(attempt, checkout);
  if ('failure' in made) return made.failure;
  const { image } = made;

  const preRun = checkout && (await runHostHook(attempt, 'pre-run hook', hooks.preRun, checkout));
  if (preRun) return failed('pre-run hook', preRun);

  const where = await place;
  if ('problem' in where) {
    await runFailedHook(attempt, checkout);
    return failed('start', where.problem);
  }
  if (isTask(attempt)) {
    const freeing = beginFreeing(attempt);
    const ran = await runTask(attempt, image, where);
    if (!('problem' in ran)) await freeing.tell();
    return endOfTask(ran);
  }

  const room = await makeRoom(attempt);
  if ('problem' in room) return failed('start', room.problem);
  await using gap = room.gap;

  const start = await startCandidate(attempt, image, where);
  if ('problem' in start) {
    await runFailedHook(attempt, checkout);
    return failed('start', start.problem);
  }
  await using candidate = start.candidate;
  const freeing = beginFreeing(attempt);

  const unhealthy = await awaitHealthy(attempt, candidate.endpoints);
  if (unhealthy) {
    await runFailedHook(attempt, checkout);
    return failed(unhealthy.step, await keepForALook(attempt, candidate, unhealthy));
  }

  const unswitched = await switchRoute(attempt, candidate, image);
  if (unswitched) return failed('switch', unswitched);

  await gap.takenOver();
  await reportDrain(attempt);
  await Promise.all([freeing.tell(), runSucceededHook(attempt, candidate.endpoints)]);
  return { kind: 'live' };
}

/** A rollback takes all it needs from its release, so that it works without git; only the hooks want to see the files. */
function needsCheckout({ deployment, settings }: Attempt): boolean {
  if (deployment.rollbackTo === undefined) return true;
  return settings.hooks.preRun !== undefined || settings.hooks.runFailed !== undefined;
}

/** Builds the commit; for a restart and a rollback, the image is the one of the release that is started anew. */
async function makeImage(
  attempt: Attempt,
  checkout: Checkout | undefined,
): Promise<{ image: string } | { failure: DeployOutcome }> {
  const { deployment, settings, tools } = attempt;
  const { hooks } = settings;
  if (checkout && deployment.rollbackTo === undefined) {
    const wanted = await readCron(checkout);
    if ('problem' in wanted) return { failure: failed('checkout', wanted.problem) };
    await tools.recordCron(attempt, wanted.cron);
  }
  if (deployment.image !== undefined) {
    const reused = await reuseImage(attempt, deployment.image);
    return 'problem' in reused ? { failure: failed('start', reused.problem) } : reused;
  }
  if (!checkout) throw new Error('there are no files to build');

  const login = await logInToRegistry(attempt);
  if ('problem' in login) return { failure: failed('registry login', login.problem) };

  const preBuild = await runHostHook(attempt, 'pre-build hook', hooks.preBuild, checkout);
  if (preBuild) return { failure: failed('pre-build hook', preBuild) };

  const build = await buildImage(attempt, checkout, login.credentials);
  if ('problem' in build) return { failure: failed('build', build.problem) };

  const postBuild = await runHostHook(attempt, 'post-build hook', hooks.postBuild, checkout);
  return postBuild ? { failure: failed('post-build hook', postBuild) } : build;
}

function endOfTask(result: TaskResult): DeployOutcome {
  return 'problem' in result ? failed('task', result.problem) : { kind: 'live', ranMs: result.ranMs };
}

function failed(step: Step, problem: Problem): DeployOutcome {
  return { kind: 'failed', step, ...problem };
}
