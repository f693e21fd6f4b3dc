import type { AppName } from '../domain/app.ts';
import type { DeploymentState } from '../domain/deployment.ts';
import type { LogLine } from '../domain/log-line.ts';
import { safeText } from '../domain/safe-text.ts';
import { showSource } from '../domain/source.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { LogReader } from '../store/log-reader.ts';

const sayQueuedAfterMs = 1000;
const sayAliveEveryMs = 30_000;

/** Shows the log of a deployment to a pusher, from its first line to its end, with a word when there is nothing to show. */
export async function followForPush(
  deps: { deployments: DeploymentStore; logs: LogReader },
  app: AppName,
  number: number,
  say: (line: LogLine) => Promise<void>,
  signal: AbortSignal,
): Promise<DeploymentState> {
  const chunks = deps.logs.follow(app, number, signal);
  const began = performance.now();
  let linesShown = 0;
  let next = chunks.next();
  for (;;) {
    next.catch(() => {}); // whoever stops listening must not leave a rejection behind
    const chunk = await within(next, linesShown === 0 ? sayQueuedAfterMs : sayAliveEveryMs);
    if (chunk === 'silence') {
      if (linesShown === 0) await sayQueued(deps.deployments, app, number, say);
      else
        await say({
          kind: 'detail',
          text: `still at it, ${Math.round((performance.now() - began) / 1000)}s`,
        });
      linesShown += 1;
      continue;
    }
    if (chunk.done) throw new Error(`the log of deployment ${number} of ${app} has no end`);
    if ('end' in chunk.value) {
      if (linesShown === 0 && chunk.value.end !== 'live') {
        const deployment = await deps.deployments.get(app, number);
        await say({
          kind: 'error',
          text: `deploy #${number} ${safeText(deployment?.reason ?? chunk.value.end, 200)}`,
        });
      }
      return chunk.value.end;
    }
    for (const line of chunk.value.lines) {
      await say(line);
      linesShown += 1;
      if (linesShown === 1)
        await say({ kind: 'detail', text: `Ctrl-C is safe, the deploy goes on: gantry logs --app ${app}` });
    }
    next = chunks.next();
  }
}

async function sayQueued(
  deployments: DeploymentStore,
  app: AppName,
  number: number,
  say: (line: LogLine) => Promise<void>,
): Promise<void> {
  const running = (await deployments.list(app, 10)).find(
    (other) => other.number < number && other.state === 'running',
  );
  const because = running
    ? `#${running.number} (${showSource(running)}, ${safeText(running.by, 40)}) is being deployed, ` +
      `${Math.round((Date.now() - (running.startedAt ?? running.createdAt).getTime()) / 1000)}s so far`
    : 'waiting for a free worker';
  await say({ kind: 'heading', text: `Deploy #${number} of ${app} is queued: ${because}` });
  await say({
    kind: 'detail',
    text: `Ctrl-C is safe, the deploy goes on.  cancel: gantry deploys cancel ${number} --app ${app}`,
  });
}

/** The promise stays pending after `silence` and is waited for again. */
async function within<T>(promise: Promise<T>, ms: number): Promise<T | 'silence'> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<'silence'>((resolve) => {
    timer = setTimeout(() => resolve('silence'), ms);
  });
  try {
    return await Promise.race([promise, silence]);
  } finally {
    clearTimeout(timer);
  }
}
