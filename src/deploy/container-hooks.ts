import type { Endpoint } from '../domain/route.ts';
import { messageOf } from '../errors.ts';
import type { Attempt } from './attempt.ts';
import type { Checkout } from './check-out.ts';
import { runHostHook } from './run-hook.ts';

/** CC_RUN_SUCCEEDED_HOOK, inside every new container, as on Clever Cloud. Whatever it does, the deployment stays live. */
export async function runSucceededHook(attempt: Attempt, live: readonly Endpoint[]): Promise<void> {
  const command = attempt.settings.hooks.runSucceeded;
  if (command === undefined) return;
  await attempt.log.heading('Run-succeeded hook (in the container)');
  for (const [instance, { container }] of live.entries()) {
    if (live.length > 1) await attempt.log.detail(`instance ${instance}:`);
    await runIn(attempt, container, command);
  }
}

async function runIn({ log, tools, signal }: Attempt, container: string, command: string): Promise<void> {
  try {
    const { exitCode } = await tools.engine.exec(container, command, log.output, {
      timeoutMs: tools.limits.hookTimeoutMs,
      signal,
    });
    if (exitCode !== 0)
      await log.warning(
        `the run-succeeded hook ${exitCode === 'timed out' ? 'timed out' : `exited with code ${exitCode}`}; the release stays live`,
      );
  } catch (error) {
    signal.throwIfAborted();
    await log.warning(`the run-succeeded hook could not be run: ${messageOf(error)}; the release stays live`);
  }
}

/** CC_RUN_FAILED_HOOK, on the host: the container it would belong to did not start. */
export async function runFailedHook(attempt: Attempt, checkout: Checkout | undefined): Promise<void> {
  if (!checkout) return;
  const problem = await runHostHook(attempt, 'run-failed hook', attempt.settings.hooks.runFailed, checkout);
  if (problem) await attempt.log.warning(`the run-failed hook failed: ${problem.reason}`);
}
