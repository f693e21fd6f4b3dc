import type { Step } from '../domain/deployment.ts';
import { EngineAway } from '../domain/engine-away.ts';
import { failpoint } from '../failpoint.ts';
import type { Attempt } from './attempt.ts';

/** Does a step; how long that took is measured however it ends. */
export async function timed<T>({ tools }: Attempt, step: Step, work: () => Promise<T>): Promise<T> {
  await failpoint(`before ${step}`);
  const began = performance.now();
  try {
    const result = await work();
    await failpoint(`after ${step}`);
    return result;
  } catch (error) {
    if (error instanceof EngineAway) error.step ??= step;
    throw error;
  } finally {
    const value = (performance.now() - began) / 1000;
    tools.measure({ name: 'deploy_step_duration_seconds', label: step, value });
  }
}
