import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { resultOf } from '../support/git.ts';
import { family, killAll, processesIn } from '../support/processes.ts';
import { appRepository, Rig, until } from '../support/rig.ts';

let rig: Rig;
beforeEach(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '20' });
  rig.explainFailures();
});
afterEach(() => rig[Symbol.asyncDispose]());

/** A build that takes its time, never from the cache of an earlier run, and says when it is in the middle of it. */
const slowBuild = (seconds: number): string =>
  `FROM gantry-test/node:1\nCOPY version /app/version\nRUN echo in-the-middle && sleep ${seconds} # ${randomUUID()}\nCOPY . /app\nCMD ["node","/app/server.js"]\n`;

async function startPushUntil(repo: Awaited<ReturnType<typeof appRepository>>, url: string, text: string) {
  const child = repo.startPush(url);
  let output = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const result = resultOf(child);
  await until(`the push says ${text}`, () => output.includes(text));
  return { child, result };
}

async function deployments(app: string): Promise<{ number: number; state: string }[]> {
  const { body } = await rig.api('GET', `/apps/${app}/deployments`);
  return (JSON.parse(body) as { deployments: { number: number; state: string }[] }).deployments;
}

describe('several pushes', () => {
  test('two pushes to one app are serial: the last wins, the first says superseded', async () => {
    await using repo = await appRepository('web', { Dockerfile: slowBuild(6) });
    const url = await rig.pushUrl('serial');
    const first = await startPushUntil(repo, url, 'in-the-middle');
    await repo.commit({ version: 'two' }, 'two');
    const second = await repo.push(url);
    const firstEnd = await first.result;
    expect(firstEnd.stderr).toMatch(/error: deploy #1 superseded by #2/);
    expect(firstEnd.stderr).toMatch(/nothing to do: #2 \([0-9a-f]{7}\) contains your commit/);
    expect(firstEnd.stderr).toMatch(/\[remote rejected\] main -> main \(deploy #1 superseded by #2\)/);
    expect(firstEnd.code).toBe(1);
    expect(second.stderr).toMatch(/success: serial v2 is live/);
    expect(second.code).toBe(0);
    expect((await rig.request('serial')).body).toBe('two');
  });

  test('of three queued pushes only the newest is built, the others say so', async () => {
    await using repo = await appRepository('web', { Dockerfile: slowBuild(3) });
    const url = await rig.pushUrl('queue');
    const first = await startPushUntil(repo, url, 'in-the-middle');
    const others = [];
    for (const version of ['two', 'three', 'four']) {
      await repo.commit({ version }, version);
      const push = repo.push(url);
      others.push(push);
      await until('it is queued', async () => (await deployments('queue')).length === others.length + 1);
    }
    const ends = [await first.result, ...(await Promise.all(others))];
    expect(ends.map((end) => end.code)).toEqual([1, 1, 1, 0]);
    expect((await rig.request('queue')).body).toBe('four');
    expect((await deployments('queue')).map((deployment) => deployment.state)).toEqual([
      'live',
      'superseded',
      'superseded',
      'superseded',
    ]);
  });

  test('two apps build at the same time', async () => {
    await using one = await appRepository('web', { Dockerfile: slowBuild(4) });
    await using two = await appRepository('web', { Dockerfile: slowBuild(4.01) });
    const pushes = [
      await startPushUntil(one, await rig.pushUrl('left'), 'in-the-middle'),
      await startPushUntil(two, await rig.pushUrl('right'), 'in-the-middle'),
    ];
    // Both are in the middle of their builds now; neither has ended.
    expect((await deployments('left'))[0]?.state).toBe('running');
    expect((await deployments('right'))[0]?.state).toBe('running');
    for (const push of pushes) expect((await push.result).code).toBe(0);
  });

  test('a running deployment can be cancelled; its push says so and the app can be pushed again', async () => {
    await using repo = await appRepository('web', { Dockerfile: slowBuild(30) });
    const url = await rig.pushUrl('stop');
    const push = await startPushUntil(repo, url, 'in-the-middle');
    const cancel = await rig.gantry('deploys', 'cancel', '1', '--app', 'stop');
    expect(cancel.code).toBe(0);
    const end = await push.result;
    expect(end.code).toBe(1);
    expect(end.stderr).toMatch(/deploy #1 cancelled: by admin/);
    await repo.commit({
      Dockerfile: 'FROM gantry-test/node:1\nCOPY . /app\nCMD ["node","/app/server.js"]\n',
    });
    expect((await repo.push(url)).code).toBe(0);
  });
});

describe('somebody dies', () => {
  test('the client: the deployment finishes, the branch moves, the next push says so', async () => {
    await using repo = await appRepository('web', { Dockerfile: slowBuild(3) });
    const url = await rig.pushUrl('client');
    const push = await startPushUntil(repo, url, 'in-the-middle');
    killAll(await family(push.child.pid ?? 0));
    await until('it is live', async () => (await deployments('client'))[0]?.state === 'live');
    expect((await rig.request('client')).body).toBe('one');
    const commit = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
    await until('the branch has moved', async () =>
      (await repo.git('ls-remote', url, 'main')).stdout.includes(commit),
    );
    await repo.commit({ version: 'two' }, 'two');
    const next = await repo.push(url);
    expect(next.stderr).toMatch(/while you were away: deploy #1 \([0-9a-f]{7}\) went live/);
    expect(next.code).toBe(0);
  });

  test('the worker, by kill -9 in the middle of a build: it resumes by itself and finishes, once', async () => {
    await using repo = await appRepository('web', { Dockerfile: slowBuild(4) });
    const url = await rig.pushUrl('worker');
    const push = await startPushUntil(repo, url, 'in-the-middle');
    process.kill(await rig.workerPid(), 'SIGKILL');
    const end = await push.result;
    expect(end.stderr).toMatch(/a worker was lost; deploy #1 starts again/);
    expect(end.stderr).toMatch(/success: worker v1 is live/);
    expect(end.code).toBe(0);
    expect((await rig.request('worker')).body).toBe('one');
    expect(await deployments('worker')).toHaveLength(1);
  });

  test('the worker, by SIGTERM: the build is handed back and finished by the next one', async () => {
    await using repo = await appRepository('web', { Dockerfile: slowBuild(4) });
    const url = await rig.pushUrl('handback');
    const push = await startPushUntil(repo, url, 'in-the-middle');
    process.kill(await rig.workerPid(), 'SIGTERM');
    const end = await push.result;
    expect(end.stderr).toMatch(/the worker shuts down; another one takes over/);
    expect(end.code).toBe(0);
  });

  test('the server, by kill -9: apps answer, the deployment finishes, everything is there after a start', async () => {
    await using repo = await appRepository('web');
    const url = await rig.pushUrl('server');
    await repo.push(url);
    await repo.commit({ Dockerfile: slowBuild(4), version: 'two' }, 'two');
    const push = await startPushUntil(repo, url, 'in-the-middle');
    await rig.crash();
    expect((await push.result).code).toBe(1);
    expect((await rig.request('server')).body).toBe('one');
    await rig.start();
    await until(
      'the second version answers',
      async () => (await rig.request('server')).body === 'two',
      60_000,
    );
    const commit = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
    await until(
      'the branch has moved',
      async () => (await repo.git('ls-remote', url, 'main')).stdout.includes(commit),
      60_000,
    );
    expect((await deployments('server')).map((deployment) => deployment.state)).toEqual(['live', 'live']);
    expect((await rig.gantry('logs', '--app', 'server', '--deploy', '1')).stdout).toContain(
      'success: server v1 is live',
    );
  });

  test('Ctrl-C and a new start: apps, routes, releases and logs are still there', async () => {
    await using repo = await appRepository('web');
    const url = await rig.pushUrl('restart');
    await repo.push(url);
    await rig.stop();
    expect((await rig.request('restart')).body).toBe('one');
    await rig.start();
    expect((await rig.request('restart')).body).toBe('one');
    expect((await rig.gantry('apps')).stdout).toMatch(/restart +v1 +#1 live +main/);
    expect((await rig.gantry('logs', '--app', 'restart')).stdout).toContain('-----> Deploy #1 of restart');
    await repo.commit({ version: 'two' }, 'two');
    expect((await repo.push(url)).code).toBe(0);
  });

  test('Redis, by kill -9 in the middle of a build: nothing is lost', async () => {
    await using repo = await appRepository('web', { Dockerfile: slowBuild(4) });
    const url = await rig.pushUrl('redis');
    const push = await startPushUntil(repo, url, 'in-the-middle');
    process.kill(await rig.redisPid(), 'SIGKILL');
    const end = await push.result;
    await until('it is live', async () => (await deployments('redis'))[0]?.state === 'live', 60_000);
    expect(end.stderr).toMatch(/success: redis v1 is live/);
    expect((await rig.request('redis')).body).toBe('one');
    expect(await deployments('redis')).toHaveLength(1);
  });

  test('the router, by kill -9: it comes back with the same routes', async () => {
    await using repo = await appRepository('web');
    await repo.push(await rig.pushUrl('router'));
    killAll(await processesIn(rig.dataDir, 'haproxy'));
    await expect
      .poll(async () => (await rig.request('router').catch(() => ({ body: '' }))).body, { timeout: 10_000 })
      .toBe('one');
  });
});
