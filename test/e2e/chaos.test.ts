import { expect, test } from 'vitest';
import { playAll } from '../chaos/lanes.ts';
import type { Outcome } from '../chaos/play.ts';
import { someScenes } from '../chaos/scenes.ts';
import { describeOutcome } from '../chaos/table.ts';

/** Every moment of a deployment, each with another fault; `npm run chaos` plays all of them at every moment. */
const scenes = someScenes({ pauseMs: 20_000 });

test('no promise is broken, whatever fails at any moment', { timeout: 900_000 }, async ({ signal }) => {
  const outcomes: Outcome[] = [];
  await playAll(
    scenes,
    async (outcome, { rig }) => {
      outcomes.push(outcome);
      if (outcome.broken.length > 0) console.error(await rig.lastOfLog());
    },
    signal,
  );
  expect(outcomes.filter(({ broken }) => broken.length > 0).map(describeOutcome)).toEqual([]);
  expect(outcomes.length).toBe(scenes.length);
});
