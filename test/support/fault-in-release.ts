import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { page, slowStep } from './dockerfiles.ts';
import type { GitResult } from './git.ts';
import { expectNothingLeftBehind } from './leftovers.ts';
import { appRepository, type Rig, until } from './rig.ts';
import { type StartedPush, startPush } from './started-push.ts';
import { Visitors } from './visitor.ts';

/** When something happens, and what is deployed so that it can. */
type Moment = {
  dockerfile: () => string;
  reached: (push: StartedPush, rig: Rig, app: string) => Promise<void>;
};

export const inBuild: Moment = {
  dockerfile: () => page(slowStep(3)),
  reached: (push) => push.says('half-way'),
};

export const inHealthCheck: Moment = {
  dockerfile: () => page().replace(/CMD.*/, 'CMD ["sh","-c","sleep 5; exec httpd -f -p 8080 -h /www"]'),
  reached: async (push, { docker }, app) => {
    await push.says('Starting v2');
    const label = [`gantry.app=${app}`, 'gantry.release=2'];
    await until('it runs', async () => (await docker.listContainers({ filters: { label } })).length === 1);
    await sleep(1000); // its health is asked for by now
  },
};

/** Something happens in the middle of a second release; it goes live all the same, and no visit fails. */
export async function expectToOutlive(
  rig: Rig,
  app: string,
  { dockerfile, reached }: Moment,
  fault: () => Promise<void>,
): Promise<GitResult> {
  await using repo = await appRepository('page', { version: 'one' });
  const url = await rig.pushUrl(app);
  expect((await repo.push(url)).code).toBe(0);
  const visitors = new Visitors(rig.httpPort, `${app}.localhost`, 50);

  await repo.commit({ version: 'two', Dockerfile: dockerfile() });
  const push = startPush(repo, url);
  await reached(push, rig, app);
  await fault();
  const end = await push.result;
  expect(end.stderr).toContain(`${app} v2 is live`);
  expect((await rig.request(app)).body).toBe('two');
  await visitors.leave();
  expect(visitors.requests).toBeGreaterThan(100);
  expect(visitors.failures).toEqual([]);
  await expectNothingLeftBehind(rig);
  return end;
}
