import type { LocalImage } from '../docker/engine.ts';
import { type ContainerState, labels } from '../domain/container.ts';
import { type Problem, Stopped } from '../domain/deployment.ts';
import type { ReleaseImage } from '../domain/release.ts';
import { safeText } from '../domain/safe-text.ts';
import { type Attempt, memoryOf } from './attempt.ts';
import { findImage, imageTag } from './build-image.ts';
import { outOfMemory } from './explain-unhealthy.ts';
import { type Place, specsOf, startSomewhere } from './start-candidate.ts';
import { confirmSwitch, reportDrain } from './switch-route.ts';
import { tellSpecs } from './troubleshoot.ts';

export type TaskResult = { ranMs: number } | { problem: Problem };

/** Runs the container to its end, its output in the log; with exit code 0 it becomes a release without a route. */
export async function runTask(
  attempt: Attempt,
  image: LocalImage,
  place: Exclude<Place, { problem: Problem }>,
): Promise<TaskResult> {
  const { deployment, log } = attempt;
  await log.heading(`Running v${deployment.number} once`);
  const specs = specsOf(attempt, image, { ...place, addresses: place.addresses.slice(0, 1) });
  if ('problem' in specs) return specs;
  await tellSpecs(attempt, specs.specs);
  const [spec] = specs.specs;
  if (!spec) throw new Error('a task has no place to run');
  attempt.guard();
  const started = await startSomewhere(attempt, spec);
  if (!started.ok) return { problem: { reason: safeText(started.reason, 150) } };
  return followTask(attempt, started.container, image);
}

/** Takes up a task that went on while its worker was gone; nothing when there is none. A task must not run twice. */
export async function resumeTask(attempt: Attempt): Promise<TaskResult | undefined> {
  const { deployment, log, tools } = attempt;
  if (deployment.runs < 2) return undefined;
  const containers = await tools.engine.listContainers(`${labels.app}=${deployment.app}`);
  const left = containers.find(
    ({ labels: marks }) =>
      marks[labels.store] === tools.storeId && marks[labels.release] === String(deployment.number),
  );
  if (!left) return undefined;
  const state = await tools.engine.inspect(left.id);
  if (state && !state.running && state.exitCode === undefined) return undefined; // it was made and not started
  await log.detail('the task went on meanwhile; this is its output from the start');
  const name = imageTag(attempt);
  const image = (await findImage(attempt, name)) ?? { name, id: undefined, bytes: undefined };
  return followTask(attempt, left.id, image);
}

async function followTask(attempt: Attempt, container: string, image: ReleaseImage): Promise<TaskResult> {
  const { log, tools, signal } = attempt;
  const { engine } = tools;
  const began = performance.now();
  let problem: Problem | undefined;
  try {
    const exited = engine.waitForExit(container, signal);
    await Promise.all([exited, engine.followOutput(container, (lines) => log.output(...lines), signal)]);
    problem = await problemOf(attempt, await exited);
  } catch (error) {
    // Somebody else goes on with it; every other end is the end of the container, too.
    if (isHandedOn(signal)) throw error;
    await engine.stopAndRemove(container, tools.limits.stopTimeoutMs).catch(() => {});
    throw error;
  }
  const ranMs = performance.now() - began;
  problem ??= await becomeRelease(attempt, image);
  await engine.stopAndRemove(container, 0).catch(() => {}); // else the sweep does it
  if (problem) return { problem };
  await reportDrain(attempt);
  return { ranMs };
}

async function problemOf(attempt: Attempt, state: ContainerState | undefined): Promise<Problem | undefined> {
  if (!state) return { reason: 'the container was removed by somebody else' };
  if (state.exitCode === 0) return undefined;
  if (state.outOfMemory) return outOfMemory(memoryOf(attempt));
  const reason = await attempt.tools.engine.startFailure(state.id).catch(() => undefined);
  return { reason: reason ?? `it exited with code ${state.exitCode}` };
}

/** What runs and cron entries start from; nothing answers for the app any more, should it have served before. */
async function becomeRelease(attempt: Attempt, image: ReleaseImage): Promise<Problem | undefined> {
  attempt.guard();
  const version = await attempt.tools.switchRoute(attempt, [], image);
  return confirmSwitch(attempt, version, []);
}

/** Somebody else goes on with it. */
export function isHandedOn(signal: AbortSignal): boolean {
  const cause: unknown = signal.reason;
  return cause instanceof Stopped && (cause.stop.kind === 'shutdown' || cause.stop.kind === 'lease lost');
}
