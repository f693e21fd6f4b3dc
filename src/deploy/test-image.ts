import type { LocalImage } from '../docker/engine.ts';
import { labels } from '../domain/container.ts';
import type { Problem } from '../domain/deployment.ts';
import { safeText } from '../domain/safe-text.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import { type Attempt, memoryOf } from './attempt.ts';
import { seconds } from './deploy-log.ts';
import { outOfMemory } from './explain-unhealthy.ts';
import { lonelySpec, startSomewhere } from './start-candidate.ts';
import { timed } from './timed.ts';

const lastLinesKept = 20;

/**
 * Runs the app's test command in a container of the image that was just built, before anything of it is started: with the
 * variables of the app, and without its volumes, whose data tests must not touch. Says why the image does not pass.
 */
export async function testImage(attempt: Attempt, image: LocalImage): Promise<Problem | undefined> {
  const { testCommand } = attempt.deployment.options;
  if (testCommand === undefined) return undefined;
  return timed(attempt, 'test', () => runTests(attempt, image, testCommand));
}

async function runTests(
  attempt: Attempt,
  image: LocalImage,
  testCommand: string,
): Promise<Problem | undefined> {
  const { log, tools, signal } = attempt;
  const { engine } = tools;
  await log.heading(`Testing: ${safeText(testCommand, 100)}`);
  const began = performance.now();
  const started = await start(attempt, image, testCommand);
  if (!('container' in started)) return started;
  const { container } = started;
  const deadline = timeoutSignal(tools.limits.buildTimeoutMs);
  const stop = AbortSignal.any([signal, deadline]);
  const lastLines: string[] = [];
  try {
    const exited = engine.waitForExit(container, stop);
    const output = engine.followOutput(
      container,
      async (lines) => {
        lastLines.push(...lines);
        lastLines.splice(0, lastLines.length - lastLinesKept);
        await log.output(...lines);
      },
      stop,
    );
    await Promise.all([exited, output]);
    const state = await exited;
    const took = seconds(performance.now() - began);
    if (!state) return { reason: 'the container of the tests was removed by somebody else' };
    if (state.outOfMemory) return outOfMemory(memoryOf(attempt));
    const refused = await engine.startFailure(container).catch(() => undefined);
    if (refused !== undefined) return { reason: refused };
    if (state.exitCode !== 0) return { reason: `the tests exited with code ${state.exitCode}`, lastLines };
    await log.detail(`passed in ${took}`);
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    if (!deadline.aborted) throw error;
    return { reason: `the tests timed out after ${seconds(tools.limits.buildTimeoutMs)}`, lastLines };
  } finally {
    // What the engine cannot do now, the sweep does once the deployment has ended.
    await engine.stopAndRemove(container, 0).catch(() => {});
  }
}

async function start(
  attempt: Attempt,
  image: LocalImage,
  command: string,
): Promise<{ container: string } | Problem> {
  const { deployment, tools } = attempt;
  const made = await lonelySpec(attempt, image);
  if ('problem' in made) return made.problem;
  const { dockerSocket: _, ...spec } = made.spec;
  const { [labels.troubleshoot]: __, ...marks } = spec.labels;
  attempt.guard();
  const started = await startSomewhere(attempt, {
    ...spec,
    name: `gantry-${tools.storeTag}-${deployment.app}-test-${deployment.number}`,
    labels: marks,
    env: { ...spec.env, INSTANCE_TYPE: 'test' },
    command: ['sh', '-c', command],
    volumes: [],
  });
  return started.ok ? started : { reason: safeText(started.reason, 150) };
}
