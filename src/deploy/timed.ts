import type { Step } from '../domain/deployment.ts';
import type { Attempt } from './attempt.ts';

/** Does a step; how long that took is measured however it ends. */
export async function timed<T>({ tools }: Attempt, step: Step, work: () => Promise<T>): Promise<T> {
  const began = performance.now();
  try {
    return await work();
  } finally {
    const value = (performance.now() - began) / 1000;
    tools.measure({ name: 'deploy_step_duration_seconds', label: step, value });
  }
}
