import { setTimeout as sleep } from 'node:timers/promises';
import type { LocalImage } from '../docker/engine.ts';
import type { CronEntry } from '../domain/cron-file.ts';
import type { DeployOutcome, Problem, Step } from '../domain/deployment.ts';
import { failpoint } from '../failpoint.ts';
import { type Attempt, isTask } from './attempt.ts';
import { awaitHealthy } from './await-healthy.ts';
import { buildImage, reuseImage } from './build-image.ts';
import { type Checkout, checkOut } from './check-out.ts';
import { runFailedHook, runSucceededHook } from './container-hooks.ts';
import { beginFreeing, problemWithDisk } from './disk-space.ts';
import { problemWithAccess, problemWithNetworks, problemWithPort, warnOfAccess } from './host-access.ts';
import { publishImage } from './publish-image.ts';
import { pullImage, withPortOf } from './pull-image.ts';
import { readCron } from './read-cron.ts';
import { logInToRegistry } from './registry-login.ts';
import { runHostHook } from './run-hook.ts';
import { resumeTask, runTask, type TaskResult } from './run-task.ts';
import { type Place, preparePlace, startCandidate } from './start-candidate.ts';
import { makeRoom } from './stop-first.ts';
import { reportDrain, switchRoute } from './switch-route.ts';
import { testImage } from './test-image.ts';
import { timed } from './timed.ts';
import { keepForALook } from './troubleshoot.ts';

const headStartMs = 20;

/**
 * Makes a commit or an image live, or says why not. Until the route is switched nothing touches what serves, and a
 * candidate that is not kept removes itself, whether a step fails, throws or is aborted.
 */
export async function deploy(asked: Attempt): Promise<DeployOutcome> {
  const isPulled = asked.deployment.pull !== undefined;

  const notAllowed = problemWithAccess(asked) ?? (await problemWithNetworks(asked));
  if (notAllowed) return failed(isPulled ? 'pull' : 'checkout', notAllowed);
  const portKnown = !isPulled || asked.settings.isPortGiven;
  const takenPort = portKnown ? await problemWithPort(asked) : undefined;
  if (takenPort) return failed(isPulled ? 'pull' : 'checkout', takenPort);
  const full = await problemWithDisk(asked);
  if (full) return failed(isPulled ? 'pull' : 'build', full);
  await warnOfAccess(asked);

  if (isTask(asked)) {
    const resumed = await resumeTask(asked);
    if (resumed) return endOfTask(resumed);
  }

  const source = needsCheckout(asked)
    ? await timed(asked, 'checkout', () => checkOut(asked))
    : { checkout: undefined };
  if ('problem' in source) return failed('checkout', source.problem);
  await using checkout = source.checkout;

  const isBuilt = checkout !== undefined && asked.deployment.rollbackTo === undefined;
  const wanted = isBuilt ? await readCron(checkout) : undefined;
  if (wanted && 'problem' in wanted) return failed('checkout', wanted.problem);

  const place = prepare(asked, wanted?.cron);
  const settled = Promise.allSettled([place]);
  const outcome = await deployInto(asked, checkout, place);
  // Also of one that failed before it was needed: networks that nobody waits for pile up at the engine.
  await settled;
  return outcome;
}

/** What needs nothing of the image, and is ready long before it is. A build is asked for first: that is what takes long. */
async function prepare(asked: Attempt, cron: readonly CronEntry[] | undefined): Promise<Place> {
  if (asked.deployment.image === undefined) await sleep(headStartMs);
  if (cron) await asked.tools.recordCron(asked, cron);
  return preparePlace(asked);
}

/** Once its files are there, while its place is prepared. */
async function deployInto(
  asked: Attempt,
  checkout: Checkout | undefined,
  place: Promise<Place>,
): Promise<DeployOutcome> {
  const { hooks } = asked.settings;
  const made = await makeImage(asked, checkout);
  if ('failure' in made) return made.failure;
  const { image, attempt } = made;

  const preRun = checkout && (await runHook(attempt, 'pre-run hook', hooks.preRun, checkout));
  if (preRun) return failed('pre-run hook', preRun);

  const where = await place;
  if ('problem' in where) {
    await runFailedHook(attempt, checkout);
    return failed('start', where.problem);
  }
  if (isTask(attempt)) {
    const freeing = beginFreeing(attempt);
    const ran = await timed(attempt, 'task', () => runTask(attempt, image, where));
    if (!('problem' in ran)) await freeing.tell();
    return endOfTask(ran);
  }

  const room = await makeRoom(attempt);
  if ('problem' in room) return failed('start', room.problem);
  await using gap = room.gap;

  const start = await timed(attempt, 'start', () => startCandidate(attempt, image, where));
  if ('problem' in start) {
    await runFailedHook(attempt, checkout);
    return failed('start', start.problem);
  }
  await using candidate = start.candidate;

  const unhealthy = await timed(attempt, 'health check', () => awaitHealthy(attempt, candidate.endpoints));
  if (unhealthy) {
    await runFailedHook(attempt, checkout);
    return failed(unhealthy.step, await keepForALook(attempt, candidate, unhealthy));
  }

  const unswitched = await timed(attempt, 'switch', () => switchRoute(attempt, candidate, image));
  if (unswitched) return failed('switch', unswitched);

  const freeing = beginFreeing(attempt);
  await gap.takenOver();
  await failpoint('before drain');
  await reportDrain(attempt);
  await failpoint('after drain');
  await Promise.all([freeing.tell(), runSucceededHook(attempt, candidate.endpoints)]);
  return { kind: 'live' };
}

/** A rollback takes all it needs from its release, so that it works without git; only the hooks want to see the files. */
function needsCheckout({ deployment, settings }: Attempt): boolean {
  if (deployment.pull) return false;
  if (deployment.rollbackTo === undefined) return true;
  return settings.hooks.preRun !== undefined || settings.hooks.runFailed !== undefined;
}

/** What is to run, and the attempt with all that is known since. */
type Made = { image: LocalImage; attempt: Attempt } | { failure: DeployOutcome };

/**
 * Builds the commit or pulls the image; for a restart and a rollback, the image is the one of the release that is started
 * anew.
 */
async function makeImage(attempt: Attempt, checkout: Checkout | undefined): Promise<Made> {
  const { deployment, settings } = attempt;
  const { hooks } = settings;
  if (deployment.image !== undefined) {
    const reused = await reuseImage(attempt, deployment.image);
    if ('problem' in reused) return { failure: failed('start', reused.problem) };
    return deployment.pull ? readPort(attempt, reused.image) : { ...reused, attempt };
  }
  if (deployment.pull) {
    const pulled = await timed(attempt, 'pull', () => pullImage(attempt));
    if ('problem' in pulled) return { failure: failed('pull', pulled.problem) };
    return readPort(pulled.attempt, pulled.image);
  }
  if (!checkout) throw new Error('there are no files to build');

  const login = await logInToRegistry(attempt);
  if ('problem' in login) return { failure: failed('registry login', login.problem) };

  const preBuild = await runHook(attempt, 'pre-build hook', hooks.preBuild, checkout);
  if (preBuild) return { failure: failed('pre-build hook', preBuild) };

  const build = await timed(attempt, 'build', () => buildImage(attempt, checkout, login.credentials));
  if ('problem' in build) return { failure: failed('build', build.problem) };

  const postBuild = await runHook(attempt, 'post-build hook', hooks.postBuild, checkout);
  if (postBuild) return { failure: failed('post-build hook', postBuild) };

  const untested = await testImage(attempt, build.image);
  if (untested) return { failure: failed('test', untested) };

  const unpublished = await publishImage(attempt, build.image.name);
  return unpublished ? { failure: failed('publish', unpublished) } : { ...build, attempt };
}

/** Only with the image at hand it is known where it listens. */
async function readPort(asked: Attempt, image: LocalImage): Promise<Made> {
  const found = isTask(asked) ? { attempt: asked } : withPortOf(asked, image);
  if ('problem' in found) return { failure: failed('pull', found.problem) };
  const { attempt } = found;
  const taken = asked.settings.isPortGiven ? undefined : await problemWithPort(attempt);
  return taken ? { failure: failed('pull', taken) } : { image, attempt };
}

async function runHook(
  attempt: Attempt,
  step: Step,
  command: string | undefined,
  checkout: Checkout,
): Promise<Problem | undefined> {
  if (command === undefined) return undefined;
  return timed(attempt, step, () => runHostHook(attempt, step, command, checkout));
}

function endOfTask(result: TaskResult): DeployOutcome {
  return 'problem' in result ? failed('task', result.problem) : { kind: 'live', ranMs: result.ranMs };
}

function failed(step: Step, problem: Problem): DeployOutcome {
  return { kind: 'failed', step, ...problem };
}
