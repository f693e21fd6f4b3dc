import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine } from '../docker/engine.ts';
import type { AppName } from '../domain/app.ts';
import { type ContainerState, labels } from '../domain/container.ts';
import type { Endpoint } from '../domain/route.ts';
import type { TaskEnd, TaskPlace } from '../domain/task.ts';
import type { TerminalWish } from '../domain/terminal.ts';
import type { DeployTools } from './attempt.ts';
import { instanceOf } from './look-at-instances.ts';
import { reasonToLeave, serveTerminal, type TerminalLink } from './serve-terminal.ts';

type Visit = { app: AppName; command: readonly string[]; place: TaskPlace; terminal: TerminalWish };

const replaced = 'its container is gone: another release took over, or the app was stopped';
/** 128 and the number of SIGKILL. */
const killed = 137;
/** What the engine may take to say that a container has ended whose commands have. */
const endsWithinMs = 2000;

/**
 * Runs a command in a container of the app that runs, with a terminal or plain streams of the person behind `link`. Nothing of the
 * command is left at any end, and nothing of what it said. Throws the reason of the signal once it aborts.
 */
export async function runInInstance(
  tools: DeployTools,
  { app, command, place, terminal: { id: mark, screen } }: Visit,
  serving: readonly Endpoint[],
  link: TerminalLink,
  signal: AbortSignal,
): Promise<TaskEnd> {
  const { engine } = tools;
  const found = await findContainer(tools, app, place, serving);
  if ('reason' in found) return found;
  signal.throwIfAborted();
  const started = await engine.startExec(found.container, { command, mark, ...(screen && { screen }) });
  if (!started.ok) return started;
  const { terminal, exitCode } = started;
  let isOver = false;
  try {
    const served = await serveTerminal(terminal, link, exitCode, signal);
    if (served === 'left') return reasonToLeave(link);
    const code = await exitCode();
    isOver = true;
    if (code === undefined || (code === killed && (await isEnding(engine, found.container))))
      return { reason: replaced };
    return { exitCode: code };
  } finally {
    if (!isOver) await engine.killExec(found.container, mark).catch(() => {});
  }
}

/** A command is killed with its container, or by somebody in it. */
async function isEnding(engine: Engine, container: string): Promise<boolean> {
  const deadline = performance.now() + endsWithinMs;
  while ((await engine.inspect(container))?.running) {
    if (performance.now() > deadline) return false;
    await sleep(50);
  }
  return true;
}

/** What a dead worker left of it. */
export async function endInInstance(tools: DeployTools, app: AppName, mark: string): Promise<void> {
  for (const { id, running } of await containersOf(tools, app))
    if (running) await tools.engine.killExec(id, mark);
}

async function findContainer(
  tools: DeployTools,
  app: AppName,
  { instance, deployment }: TaskPlace,
  serving: readonly Endpoint[],
): Promise<{ container: string } | { reason: string }> {
  const running = (await containersOf(tools, app)).filter(
    (container) =>
      container.running &&
      (deployment === undefined
        ? serving.some((endpoint) => endpoint.container === container.id)
        : container.labels[labels.release] === String(deployment)),
  );
  const found = running.find((container) => instanceOf(container) === instance);
  if (found) return { container: found.id };
  if (running.length > 0) {
    const others = running.map(instanceOf).sort((a, b) => a - b);
    return { reason: `${app} has no instance ${instance} that runs, only ${others.join(', ')}` };
  }
  return {
    reason:
      deployment === undefined
        ? `no instance of ${app} runs`
        : `no container of deployment #${deployment} of ${app} runs; a failed one is kept for 15 minutes with CC_TROUBLESHOOT=true`,
  };
}

async function containersOf({ engine, storeId }: DeployTools, app: AppName): Promise<ContainerState[]> {
  return (await engine.listContainers(`${labels.app}=${app}`)).filter(
    ({ labels: marks }) => marks[labels.store] === storeId && marks[labels.task] === undefined,
  );
}
