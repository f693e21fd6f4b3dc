import type { Failpoint } from '../../src/failpoint.ts';
import { faultsOf } from './faults.ts';
import type { Scene } from './play.ts';
import type { Way } from './stage.ts';

const pushSteps = [
  'request',
  'wake',
  'claim',
  'checkout',
  'registry login',
  'pre-build hook',
  'build',
  'post-build hook',
  'test',
  'publish',
  'pre-run hook',
  'start',
  'health check',
  'switch',
  'route',
  'drain',
  'end',
  'report',
  'tidy',
] as const;

const moments: { way: Way; failpoint: Failpoint }[] = [
  ...pushSteps.map((step) => ({ way: 'push' as const, step })),
  // All else is as with a push.
  { way: 'image' as const, step: 'pull' as const },
  { way: 'task' as const, step: 'task' as const },
].flatMap(({ way, step }) => [
  { way, failpoint: `before ${step}` as const },
  { way, failpoint: `after ${step}` as const },
]);

type Options = { pauseMs: number };

/** Every moment once and every fault several times; in each round another fault at each moment. */
function round(number: number, options: Options): Scene[] {
  const faults = faultsOf(options);
  return moments.flatMap((moment, index) => {
    const fault = faults[(index + number) % faults.length];
    return fault ? [{ ...moment, fault }] : [];
  });
}

export function someScenes(options: Options): Scene[] {
  return round(0, options);
}

/** Every fault at every moment of a deployment. */
export function allScenes(options: Options): Scene[] {
  return faultsOf(options).flatMap((_, number) => round(number, options));
}
