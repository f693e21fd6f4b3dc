import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { Visitors } from '../support/visitor.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '10', GANTRY_KEEP_RELEASES: '3' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

type Listed = Record<string, unknown> & { number: number; state: string };

async function releasesOf(app: string): Promise<Listed[]> {
  return JSON.parse((await rig.gantry('releases', '--json', '--app', app)).stdout) as Listed[];
}

async function deployment(app: string, number: number): Promise<Listed> {
  return JSON.parse(
    (await rig.gantry('deploys', 'show', String(number), '--json', '--app', app)).stdout,
  ) as Listed;
}

async function envOf(app: string): Promise<Record<string, string>> {
  return JSON.parse((await rig.request(app, '/env')).body) as Record<string, string>;
}

describe('gantry rollback', () => {
  test('brings image, variables and options of the release before back, without a build and a failed request', async () => {
    await using repo = await appRepository('web');
    await rig.setEnv('back', {
      COLOUR: 'red',
      OLD: 'there',
      CC_PRE_BUILD_HOOK: 'echo building',
      CC_PRE_RUN_HOOK: 'echo about to run',
    });
    const url = await rig.pushUrl('back');
    expect((await repo.push(url)).code).toBe(0);
    await rig.setEnv('back', { COLOUR: 'green', OLD: null, NEW: 'secret-value' });
    expect((await rig.gantry('scale', '--memory', '200M', '--app', 'back')).code).toBe(0);
    const bad = await repo.commit({ version: 'two' }, 'Say two');
    expect((await repo.push(url)).code).toBe(0);
    // Set, but never in force.
    await rig.setEnv('back', { LATER: 'yes' });

    const visitors = new Visitors(rig.httpPort, 'back.localhost', 100);
    const began = performance.now();
    const rollback = await rig.gantry('rollback', '--app', 'back');
    const tookMs = performance.now() - began;
    await visitors.leave();
    console.log(`rollback with a pre-run hook, seen from the command line: ${Math.round(tookMs)} ms`);
    expect(visitors.failures).toEqual([]);
    // Answers that were on their way during the switch may overtake each other.
    expect([visitors.versions[0], visitors.versions.at(-1)]).toEqual(['two', 'one']);
    expect(tookMs).toBeLessThan(15_000);
    expect(rollback.code).toBe(0);
    expect(rollback.stdout).toMatch(/^-----> Deploy #3 of back: back to v1, [0-9a-f]{7} "An app: web"$/m);
    expect(rollback.stdout).toContain(
      'with the image of v1: nothing is built, variables against v2: +OLD ~COLOUR -NEW\n',
    );
    expect(rollback.stdout).toContain('about to run');
    expect(rollback.stdout).not.toMatch(/building|Building/);
    expect(rollback.stdout).toContain('the variables and options of back are those of v1 again\n');
    expect(rollback.stdout).toContain(
      'warning: changed after v2 and never in force: LATER; the next deployment has it\n',
    );
    expect(rollback.stdout).toContain('back v3 is live');
    expect(rollback.stdout).not.toContain('secret-value');

    const inContainer = await envOf('back');
    expect(inContainer).toMatchObject({ COLOUR: 'red', OLD: 'there', INSTANCE_ID: 'back-v3-0' });
    expect(Object.keys(inContainer)).not.toContain('LATER');
    expect(JSON.parse((await rig.gantry('env', '--json', '--app', 'back')).stdout)).toEqual({
      COLOUR: 'red',
      OLD: 'there',
      CC_PRE_BUILD_HOOK: 'echo building',
      CC_PRE_RUN_HOOK: 'echo about to run',
      LATER: 'yes',
    });
    expect((await rig.gantry('apps', 'show', 'back')).stdout).toMatch(/memory +default/);
    expect(await releasesOf('back')).toMatchObject([
      {
        number: 3,
        trigger: 'rollback',
        rollbackTo: 1,
        by: 'admin',
        live: true,
        eligible_for_rollback: false,
      },
      {
        number: 2,
        trigger: 'push',
        subject: 'Say two',
        commit: bad,
        live: false,
        eligible_for_rollback: true,
        env: { added: ['NEW'], changed: ['COLOUR'], removed: ['OLD'] },
      },
      { number: 1, trigger: 'push', live: false, eligible_for_rollback: true },
    ]);

    // The same bad commit is a push again, and its log says what it replaces.
    const again = await repo.push(url);
    expect(again.stderr).toMatch(/live now: v3, which is v1 \([0-9a-f]{7}\) again since admin rolled back/);
    expect(again.stderr).toContain('while you were away: deploy #3');
    expect(again.stderr).toContain('back v4 is live');
    expect(again.code).toBe(0);
    expect((await rig.request('back')).body).toBe('two');
    expect(await envOf('back')).toMatchObject({ COLOUR: 'red', LATER: 'yes' });
  });

  test('undoes itself, passes over restarts that changed nothing, and goes to any kept release', async () => {
    await using repo = await appRepository('web');
    const url = await rig.pushUrl('toggle');
    expect((await repo.push(url)).code).toBe(0);
    await repo.commit({ version: 'two' });
    expect((await repo.push(url)).code).toBe(0);
    expect((await rig.gantry('restart', '--app', 'toggle')).code).toBe(0);
    // v3 is v2 once more.
    expect((await rig.gantry('rollback', '--app', 'toggle')).stdout).toContain('back to v1, ');
    expect((await rig.request('toggle')).body).toBe('one');
    expect((await rig.gantry('rollback', '--app', 'toggle')).stdout).toContain('back to v3, ');
    expect((await rig.request('toggle')).body).toBe('two');

    await until('two images are freed', async () =>
      (await releasesOf('toggle')).some(({ number, eligible_for_rollback: can }) => number === 2 && !can),
    );
    const shown = await rig.gantry('releases', '--app', 'toggle');
    const [head, ...rows] = shown.stdout.trimEnd().split('\n');
    expect(head).toMatch(/^RELEASE +STATE +COMMIT +BY +WHEN +IMAGE +VARIABLES +WHAT$/);
    expect(rows.map((row) => row.split(/ +/).slice(0, 2).join(' '))).toEqual([
      'v5 live',
      'v4 kept',
      'v3 kept',
      'v2 image',
      'v1 image',
    ]);
    expect(rows[0]).toMatch(/ \d+ MB +v3 again: change$/);
    expect((await rig.gantry('rollback', 'v4', '--app', 'toggle')).stdout).toContain('back to v4, ');

    // A correction of the commit that was rolled back needs no force: the branch is where the live commit is.
    await repo.git('reset', '--quiet', '--hard', 'HEAD~1');
    await repo.commit({ version: 'three' });
    expect((await repo.push(url)).code).toBe(0);
    expect((await rig.request('toggle')).body).toBe('three');
  });

  test('says in one line why it cannot be, and what to do', async () => {
    const refuse = async (...args: string[]) => {
      const { code, stderr } = await rig.gantry('rollback', ...args);
      return { code, stderr };
    };
    await rig.setEnv('refusals', {});
    expect(await refuse('--app', 'refusals')).toEqual({
      code: 5,
      stderr: 'error: refusals has nothing live to go back from\nhint: git push clever main\n',
    });
    await using repo = await appRepository('web');
    const url = await rig.pushUrl('refusals');
    expect((await repo.push(url)).code).toBe(0);
    expect(await refuse('--app', 'refusals')).toEqual({
      code: 5,
      stderr: 'error: refusals has no earlier release to go back to\n',
    });
    expect(await refuse('v1', '--app', 'refusals')).toEqual({
      code: 5,
      stderr: 'error: v1 is live already\nhint: gantry releases lists the others\n',
    });
    expect(await refuse('v9', '--app', 'refusals')).toEqual({
      code: 4,
      stderr: 'error: refusals has no release v9\nhint: list them: gantry releases\n',
    });
    expect(await refuse('latest', '--app', 'refusals')).toEqual({
      code: 2,
      stderr: 'error: "latest" is no release: write v12 (gantry releases lists them)\n',
    });
    expect((await refuse('--app', 'no-such-app')).code).toBe(4);

    for (const version of ['two', 'three', 'four']) {
      await repo.commit({ version });
      expect((await repo.push(url)).code).toBe(0);
    }
    await until('the first image is freed', async () =>
      (await releasesOf('refusals')).some(({ number, eligible_for_rollback: can }) => number === 1 && !can),
    );
    expect(await refuse('v1', '--app', 'refusals')).toEqual({
      code: 5,
      stderr:
        'error: the image of v1 is gone: those of the last releases are kept (GANTRY_KEEP_RELEASES)\n' +
        'hint: build its commit again: gantry deploys retry 1\n',
    });
    // What the hint says works.
    expect((await rig.gantry('deploys', 'retry', '1', '--app', 'refusals')).stdout).toContain(
      'refusals v5 is live',
    );
    expect((await rig.request('refusals')).body).toBe('one');

    await rig.setEnv('refusals', { CC_TASK: 'true' });
    expect(await refuse('--app', 'refusals')).toEqual({
      code: 5,
      stderr:
        'error: refusals is a task: nothing of it serves that a rollback could replace\n' +
        'hint: run that commit again: gantry deploys retry 4\n',
    });
  });

  test('of an image that somebody removed by hand says so, and what serves goes on', async () => {
    await using repo = await appRepository('web');
    const url = await rig.pushUrl('pruned');
    expect((await repo.push(url)).code).toBe(0);
    await repo.commit({ version: 'two' });
    expect((await repo.push(url)).code).toBe(0);
    // Else it would see at once that one is gone.
    await until('the images are tidied', async () => {
      const lines = (await rig.log()).split('\n').filter((line) => line.includes('images are tidied'));
      return lines.filter((line) => line.includes('"app":"pruned"')).length === 2;
    });
    const label = [`gantry.store=${await rig.storeId}`, 'gantry.app=pruned'];
    const images = await localDocker().listImages({ filters: { label } });
    const first = images.flatMap(({ RepoTags }) => RepoTags ?? []).find((tag) => tag.includes(':v1-'));
    await localDocker()
      .getImage(first ?? '')
      .remove({ force: true });
    const rollback = await rig.gantry('rollback', '--app', 'pruned');
    expect(rollback.stdout).toContain('the image of v1 is gone from the engine\n');
    expect(rollback.stdout).toContain('hint: build its commit again: gantry deploys retry 1\n');
    expect(rollback.stdout).toContain('hint: v2 is still serving');
    expect(rollback.code).toBe(6);
    expect((await rig.request('pruned')).body).toBe('two');
    await until('the list says so, too', async () =>
      (await releasesOf('pruned')).every(({ eligible_for_rollback: can }) => can === false),
    );
  });
});

describe('gantry deploys retry', () => {
  test('deploys the commit of a failed deployment again, with the variables of now', async () => {
    await using repo = await appRepository('web');
    const url = await rig.pushUrl('retried');
    expect((await repo.push(url)).code).toBe(0);
    await rig.setEnv('retried', { CC_PRE_RUN_HOOK: 'exit 3', COLOUR: 'red' });
    const commit = await repo.commit({ version: 'two' }, 'Say two');
    expect((await repo.push(url)).code).toBe(1);
    expect(await deployment('retried', 2)).toMatchObject({
      state: 'failed',
      step: 'pre-run hook',
      reason: expect.stringContaining('exited with code 3') as string,
      trigger: 'push',
      by: 'admin',
      commit,
      branch: 'main',
      env: { added: ['CC_PRE_RUN_HOOK', 'COLOUR'], changed: [], removed: [] },
      waited: expect.any(Number) as number,
      took: expect.any(Number) as number,
    });
    const shown = await rig.gantry('deploys', 'show', '#2', '--app', 'retried');
    expect(shown.stdout).toMatch(/^step +pre-run hook$/m);
    expect(shown.stdout).toMatch(/^variables +\+CC_PRE_RUN_HOOK \+COLOUR$/m);
    expect(shown.stderr).toContain('retry: gantry deploys retry 2 --app retried');

    await rig.setEnv('retried', { CC_PRE_RUN_HOOK: null });
    const retry = await rig.gantry('deploys', 'retry', '2', '--app', 'retried');
    expect(retry.stdout).toMatch(/Deploy #3 of retried: [0-9a-f]{7} "Say two", tried again/);
    expect(retry.code).toBe(0);
    expect((await rig.request('retried')).body).toBe('two');
    expect(await envOf('retried')).toMatchObject({ COLOUR: 'red' });
    // The branch came along: there is nothing left to push.
    expect((await repo.push(url)).stderr).toContain('Everything up-to-date');
    const [latest] = JSON.parse(
      (await rig.gantry('deploys', '--json', '--limit', '1', '--app', 'retried')).stdout,
    ) as Listed[];
    expect(latest).toMatchObject({ number: 3, trigger: 'retry', state: 'live', commit });
  });

  test('says in one line why it cannot be, and what to do', async () => {
    await using repo = await appRepository('web');
    const url = await rig.pushUrl('unretried');
    expect((await repo.push(url)).code).toBe(0);
    const live = await rig.gantry('deploys', 'retry', '1', '--app', 'unretried');
    expect(live.stderr).toBe(
      'error: deploy #1 is live as v1\nhint: build it again: gantry redeploy --app unretried\n',
    );
    expect(live.code).toBe(5);
    const none = await rig.gantry('deploys', 'retry', '7', '--app', 'unretried');
    expect(none.stderr).toBe('error: there is no deploy #7\nhint: list them: gantry deploys\n');
    expect(none.code).toBe(4);
    expect((await rig.gantry('deploys', 'retry', 'main', '--app', 'unretried')).code).toBe(2);

    await rig.setEnv('unretried', { CC_PRE_BUILD_HOOK: 'sleep 100' });
    await repo.commit({ version: 'two' });
    expect((await repo.push(url, 'main', { args: ['-o', 'detach'] })).code).toBe(0);
    const running = await rig.gantry('deploys', 'retry', '2', '--app', 'unretried');
    expect(running.stderr).toMatch(
      /^error: deploy #2 is (queued|running): it has not ended yet\nhint: gantry logs/,
    );
    expect(running.code).toBe(5);
    expect((await rig.gantry('deploys', 'cancel', '2', '--app', 'unretried')).code).toBe(0);
    await until('it is cancelled', async () => (await deployment('unretried', 2)).state === 'cancelled');

    // Somebody collected what no branch holds.
    const folder = `${rig.dataDir}/git/unretried.git`;
    await until(
      'its pin is gone',
      async () => (await repo.git('-C', folder, 'for-each-ref', 'refs/gantry')).stdout === '',
    );
    await rig.setEnv('unretried', { CC_PRE_BUILD_HOOK: null });
    await repo.git('-C', folder, 'gc', '--prune=now', '--quiet');
    const gone = await rig.gantry('deploys', 'retry', '2', '--app', 'unretried');
    expect(gone.stderr).toMatch(
      /^error: the commit [0-9a-f]{7} of deploy #2 is not in the repository any more\nhint: push it again: git push --force clever [0-9a-f]{7}:main\n$/,
    );
    expect(gone.code).toBe(5);
  });
});
