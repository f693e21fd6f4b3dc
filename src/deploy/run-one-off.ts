import type { EngineTerminal } from '../docker/engine.ts';
import type { AppName } from '../domain/app.ts';
import { type ContainerState, labels } from '../domain/container.ts';
import { safeText } from '../domain/safe-text.ts';
import type { Task, TaskEnd } from '../domain/task.ts';
import { type Attempt, type DeployTools, memoryOf } from './attempt.ts';
import { findImage, imageIsGone } from './build-image.ts';
import { outOfMemory } from './explain-unhealthy.ts';
import { isHandedOn } from './run-task.ts';
import { reasonToLeave, serveTerminal, type TerminalLink } from './serve-terminal.ts';
import { lonelySpec, startSomewhere } from './start-candidate.ts';

export type OneOff = Pick<Task, 'number' | 'command' | 'terminal'> & { stdin: Buffer | undefined };

/**
 * Runs a command to its end in a container of its own, made as the instances of the release are, but without a port. Takes
 * up a container that goes on since another worker died. Throws the reason of the signal once it aborts; the container
 * is gone then, unless another worker is to go on with it.
 */
export async function runOneOff(attempt: Attempt, image: string, task: OneOff): Promise<TaskEnd> {
  const { tools, log, signal } = attempt;
  const { number } = task;
  const found = await findOneOff(tools, attempt.deployment.app, number);
  const started = found === undefined ? await start(attempt, image, task) : { container: found };
  if (!('container' in started)) return started;
  const { container } = started;
  try {
    const exited = tools.engine.waitForExit(container, signal);
    await Promise.all([
      exited,
      tools.engine.followOutput(container, (lines) => log.output(...lines), signal),
    ]);
    const state = await exited;
    const reason = state && (await tools.engine.startFailure(container).catch(() => undefined));
    return endOf(attempt, state, reason);
  } finally {
    if (!signal.aborted) await tools.engine.stopAndRemove(container, 0).catch(() => {});
    else if (!isHandedOn(signal))
      await tools.engine.stopAndRemove(container, tools.limits.stopTimeoutMs).catch(() => {});
  }
}

/** How long a command may take to end after its terminal is gone when Gantry stops. */
const hurryMs = 2000;

/**
 * The same with a terminal of the person behind `link`. It is not taken up again when its worker dies or stops: what was
 * shown and typed is nowhere but there. So the container is gone at every end.
 */
export async function runInTerminal(
  attempt: Attempt,
  image: string,
  task: OneOff,
  link: TerminalLink,
): Promise<TaskEnd> {
  const { signal, tools } = attempt;
  const started = await start(attempt, image, task);
  if (!('container' in started)) return started;
  const { container, terminal } = started;
  if (!terminal) throw new Error('a container with a terminal came without one');
  let isOver = false;
  try {
    const exited = tools.engine.waitForExit(container, signal);
    exited.catch(() => {}); // whoever waits for it learns of it
    const served = await serveTerminal(terminal, link, () => exited, signal);
    if (served === 'left') return reasonToLeave(link);
    const state = await exited;
    isOver = true;
    const reason = state && (await tools.engine.startFailure(container, served.lastOutput));
    return endOf(attempt, state, reason);
  } finally {
    const { stopTimeoutMs } = tools.limits;
    const graceMs = isOver ? 0 : isHandedOn(signal) ? Math.min(hurryMs, stopTimeoutMs) : stopTimeoutMs;
    await tools.engine.stopAndRemove(container, graceMs).catch(() => {});
  }
}

/** What a dead worker left of a task. */
export async function removeOneOff(tools: DeployTools, app: AppName, number: number): Promise<void> {
  const container = await findOneOff(tools, app, number);
  if (container !== undefined) await tools.engine.stopAndRemove(container, hurryMs);
}

function endOf(attempt: Attempt, state: ContainerState | undefined, reason: string | undefined): TaskEnd {
  if (!state) return { reason: 'the container was removed by somebody else' };
  if (state.outOfMemory) return { reason: outOfMemory(memoryOf(attempt)).reason };
  return reason === undefined ? { exitCode: state.exitCode ?? 0 } : { reason };
}

async function findOneOff(tools: DeployTools, app: AppName, number: number): Promise<string | undefined> {
  const containers = await tools.engine.listContainers(`${labels.app}=${app}`);
  return containers.find(
    ({ labels: marks }) => marks[labels.store] === tools.storeId && marks[labels.task] === String(number),
  )?.id;
}

async function start(
  attempt: Attempt,
  image: string,
  { number, command, stdin, terminal }: OneOff,
): Promise<{ container: string; terminal?: EngineTerminal } | TaskEnd> {
  const { deployment, tools } = attempt;
  const found = await findImage(attempt, image);
  if (!found) return imageIsGone(attempt);
  const made = await lonelySpec(attempt, found);
  if ('problem' in made) return made.problem;
  const { spec } = made;
  const screen = terminal?.screen;
  const { [labels.release]: _, ...marks } = spec.labels;
  attempt.guard();
  const started = await startSomewhere(attempt, {
    ...spec,
    name: `gantry-${tools.storeTag}-${deployment.app}-task-${number}`,
    labels: { ...marks, [labels.task]: String(number) },
    env: { ...(screen && { TERM: screen.kind }), ...spec.env, INSTANCE_TYPE: 'task' },
    command,
    ...(stdin && { stdin }),
    ...(screen && { terminal: { columns: screen.columns, rows: screen.rows } }),
  });
  return started.ok ? started : { reason: safeText(started.reason, 150) };
}
