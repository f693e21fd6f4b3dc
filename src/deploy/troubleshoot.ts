import { swapOrder } from '../domain/app-options.ts';
import { type ContainerSpec, type ContainerState, labels } from '../domain/container.ts';
import type { Deployment, Problem } from '../domain/deployment.ts';
import type { Attempt } from './attempt.ts';
import type { Candidate } from './start-candidate.ts';

/** Upstream keeps the machine of a failed deployment as long. */
const keptMs = 15 * 60_000;

/** What is not as usual about the containers to be started; with CC_TROUBLESHOOT all about them. */
export async function tellSpecs(
  { settings, deployment, log }: Attempt,
  specs: readonly ContainerSpec[],
): Promise<void> {
  if (settings.runCommand !== undefined)
    await log.detail(
      `running ${deployment.options.command === undefined ? 'CC_RUN_COMMAND' : 'the command it was given'} instead of the command of the image`,
    );
  if (!settings.troubleshoot) return;
  for (const { name, image, network, address, memoryBytes = 0 } of specs) {
    await log.detail(`container ${name} of ${image}`);
    await log.detail(
      `network ${network}, address ${address}, memory ${Math.round(memoryBytes / 1024 ** 2)} MiB`,
    );
  }
}

/** With CC_TROUBLESHOOT a failed candidate stays for a while, and the problem says how to look into it. */
export async function keepForALook(
  attempt: Attempt,
  candidate: Candidate,
  problem: Problem,
): Promise<Problem> {
  const { settings, deployment, tools } = attempt;
  // It would meet the release it was to replace, which now starts again.
  if (!settings.troubleshoot || swapOrder(deployment.options).order === 'stop-first') return problem;
  candidate.keep();
  const [first] = candidate.endpoints;
  const state = first && (await tools.engine.inspect(first.container).catch(() => undefined));
  if (!state) return problem;
  const { app, number } = deployment;
  const ways = [
    `docker logs ${state.name}`,
    ...(state.running ? [`gantry exec ${app} --deploy ${number} -- sh`] : []),
  ];
  return {
    ...problem,
    hints: [...(problem.hints ?? []), `the container stays for 15 minutes: ${ways.join('   or   ')}`],
  };
}

/** Whether somebody may still be looking at it. The next deployment ends that, too: see `isAbandoned`. */
export function isKeptForALook(container: ContainerState, deployment: Deployment | undefined): boolean {
  const endedAt = deployment?.state === 'failed' ? deployment.endedAt : undefined;
  return isTroubled(container) && endedAt !== undefined && Date.now() - endedAt.getTime() < keptMs;
}

/** Of an earlier deployment that failed; what ever served has a restart policy. */
export function isAbandoned(container: ContainerState, current: number): boolean {
  return isTroubled(container) && !container.isKept && Number(container.labels[labels.release]) < current;
}

function isTroubled(container: ContainerState): boolean {
  return container.labels[labels.troubleshoot] !== undefined;
}
