import { labels } from '../domain/container.ts';
import { safeText } from '../domain/safe-text.ts';
import type { TaskEnd } from '../domain/task.ts';
import { type Attempt, memoryOf } from './attempt.ts';
import { outOfMemory } from './explain-unhealthy.ts';
import { isHandedOn } from './run-task.ts';
import { preparePlace, specsOf, startSomewhere } from './start-candidate.ts';

export type OneOff = { number: number; command: readonly string[]; stdin: Buffer | undefined };

/**
 * Runs a command to its end in a container of its own, made as the instances of the release are, but without a port. Takes
 * up a container that goes on since another worker died. Throws the reason of the signal once it aborts; the container
 * is gone then, unless another worker is to go on with it.
 */
export async function runOneOff(attempt: Attempt, image: string, task: OneOff): Promise<TaskEnd> {
  const { tools, log, signal } = attempt;
  const container = (await findOneOff(attempt, task.number)) ?? (await start(attempt, image, task));
  if (typeof container !== 'string') return container;
  try {
    const exited = tools.engine.waitForExit(container, signal);
    await Promise.all([
      exited,
      tools.engine.followOutput(container, (lines) => log.output(...lines), signal),
    ]);
    const state = await exited;
    if (!state) return { reason: 'the container was removed by somebody else' };
    if (state.outOfMemory) return { reason: outOfMemory(memoryOf(attempt)).reason };
    const reason = await tools.engine.startFailure(container).catch(() => undefined);
    return reason === undefined ? { exitCode: state.exitCode ?? 0 } : { reason };
  } finally {
    if (!signal.aborted) await tools.engine.stopAndRemove(container, 0).catch(() => {});
    else if (!isHandedOn(signal))
      await tools.engine.stopAndRemove(container, tools.limits.stopTimeoutMs).catch(() => {});
  }
}

async function findOneOff({ deployment, tools }: Attempt, number: number): Promise<string | undefined> {
  const containers = await tools.engine.listContainers(`${labels.app}=${deployment.app}`);
  return containers.find(
    ({ labels: marks }) => marks[labels.store] === tools.storeId && marks[labels.task] === String(number),
  )?.id;
}

async function start(
  attempt: Attempt,
  image: string,
  { number, command, stdin }: OneOff,
): Promise<string | TaskEnd> {
  const { deployment, tools } = attempt;
  const place = await preparePlace(attempt);
  if ('problem' in place) return place.problem;
  const made = await specsOf(attempt, image, place);
  if ('problem' in made) return made.problem;
  const [instance] = made.specs;
  if (!instance) throw new Error('a task has no place to run');
  const { PORT: _, ...env } = instance.env;
  const { [labels.release]: __, [labels.hostPorts]: ___, ...marks } = instance.labels;
  attempt.guard();
  const started = await startSomewhere(attempt, {
    ...instance,
    name: `gantry-${tools.storeTag}-${deployment.app}-task-${number}`,
    labels: { ...marks, [labels.task]: String(number) },
    env: { ...env, INSTANCE_TYPE: 'task' },
    command,
    ...(stdin && { stdin }),
  });
  return started.ok ? started.container : { reason: safeText(started.reason, 150) };
}
