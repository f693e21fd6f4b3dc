// Loaded into Gantry's processes before anything else (NODE_OPTIONS=--import=...): stops the first process that comes to
// the failpoint that is armed, until the test has done what it wants to do there. See src/failpoint.ts.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const folder = process.env.FAILPOINTS ?? '';
const [armed, reached] = [join(folder, 'armed'), join(folder, 'reached')];

globalThis[Symbol.for('gantry.failpoint')] = async (name) => {
  if (!isArmed(name)) return;
  writeFileSync(join(folder, 'pid'), String(process.pid));
  try {
    renameSync(armed, reached);
  } catch {
    return; // another process was first
  }
  while (existsSync(reached)) await sleep(10);
};

function isArmed(name) {
  try {
    return readFileSync(armed, 'utf8') === name;
  } catch {
    return false;
  }
}
