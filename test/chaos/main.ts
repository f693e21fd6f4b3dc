// Every fault at every moment of a deployment, on real parts.   npm run chaos [-- FAULT OR MOMENT ...]
import globalSetup from '../support/global-setup.ts';
import { playAll } from './lanes.ts';
import type { Outcome } from './play.ts';
import { allScenes } from './scenes.ts';
import type { Stage } from './stage.ts';
import { describeOutcome, table } from './table.ts';

const wanted = process.argv.slice(2);
const scenes = allScenes({ pauseMs: 60_000 }).filter(({ failpoint, fault }) =>
  wanted.every((word) => fault.name.includes(word) || failpoint.includes(word)),
);
const ending = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => {
    console.log('ends; what is under way is taken down ...');
    ending.abort();
  });

await globalSetup();
const began = performance.now();
const outcomes: Outcome[] = [];
try {
  await playAll(scenes, tell, ending.signal);
} catch (error) {
  console.error(error);
}
console.log(`\n${table(outcomes)}\n`);
const broken = outcomes.filter((outcome) => outcome.broken.length > 0);
for (const outcome of broken) console.log(describeOutcome(outcome));
const minutes = ((performance.now() - began) / 60_000).toFixed(1);
console.log(
  `${outcomes.length} of ${scenes.length} scenes in ${minutes} minutes, ${outcomes.length - broken.length} survived`,
);
process.exit(broken.length > 0 || outcomes.length < scenes.length ? 1 : 0);

async function tell(outcome: Outcome, { rig }: Stage): Promise<void> {
  outcomes.push(outcome);
  console.log(describeOutcome(outcome));
  if (outcome.broken.length > 0) console.log(await rig.lastOfLog());
}
