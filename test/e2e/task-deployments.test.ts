import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { EngineProxy } from '../support/engine-proxy.ts';
import { appRepository, Rig, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '4', GANTRY_STOP_TIMEOUT: '2' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

const dockerfile = (command: string): string =>
  `FROM gantry-test/base:1\nCOPY version /version\nCMD ["sh","-c",${JSON.stringify(command)}]\n`;

async function containersOf(app: string): Promise<{ name: string; state: string }[]> {
  const label = [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`];
  const listed = await localDocker().listContainers({ all: true, filters: { label } });
  return listed.map(({ Names, State }) => ({ name: (Names[0] ?? '').slice(1), state: State }));
}

describe('a task', () => {
  test('runs once with its output in the push, and is a success exactly when its exit code is 0', async () => {
    await using repo = await appRepository('web', {
      Dockerfile: dockerfile('echo "hello from $CC_APP_NAME"; echo oops >&2; exit ${CODE:-0}'),
    });
    await rig.setEnv('job', { CC_TASK: 'true' });
    const good = await repo.push(await rig.pushUrl('job'));
    expect(good.stderr).toContain('Running v1 once');
    expect(good.stderr).toContain('hello from job');
    expect(good.stderr).toContain('oops');
    expect(good.stderr).toMatch(/success: job v1 ran in \d+\.\d+s \(exit 0\)/);
    expect(good.code).toBe(0);
    expect(await containersOf('job')).toEqual([]);
    expect((await rig.request('job')).status).toBe(503);

    await rig.setEnv('job', { CODE: '3' });
    const bad = await rig.gantry('restart', '--app', 'job');
    expect(bad.stdout).toContain('deploy #2 failed in "task"');
    expect(bad.stdout).toContain('it exited with code 3');
    expect(bad.code).toBe(6);
    await until('nothing is left', async () => (await containersOf('job')).length === 0);
  });

  test('can be said of an app that served before: its containers go', async () => {
    await using repo = await appRepository('web');
    expect((await repo.push(await rig.pushUrl('turned'))).code).toBe(0);
    await rig.gantry('apps', 'set', 'turned', '--task');
    await repo.commit({ Dockerfile: dockerfile('echo once') });
    const push = await repo.push(await rig.pushUrl('turned'));
    expect(push.stderr).toContain('turned v2 ran in');
    await until('the old release is gone', async () => (await containersOf('turned')).length === 0);
    expect((await rig.request('turned')).status).toBe(503);
  });

  test('goes on when its worker dies, and is not run again', async () => {
    await using repo = await appRepository('web', {
      Dockerfile: dockerfile('echo began; sleep 30; echo ended'),
    });
    await rig.setEnv('long', { CC_TASK: 'true' });
    const pushing = repo.push(await rig.pushUrl('long'));
    await until('it runs', async () => (await containersOf('long')).some(({ state }) => state === 'running'));
    const [container] = await containersOf('long');
    process.kill(await rig.workerPid(), 'SIGKILL');
    const push = await pushing;
    expect(push.stderr).toMatch(/the task went on meanwhile[^]*ended[^]*long v1 ran in/);
    expect(push.code).toBe(0);
    expect(container?.name).toContain('long-v1');
    expect(await containersOf('long')).toEqual([]);
  });

  test('is run although its worker died between making its container and starting it', async () => {
    await using proxy = await EngineProxy.start();
    await using other = await Rig.start({ DOCKER_HOST: proxy.dockerHost });
    await using repo = await appRepository('web', { Dockerfile: dockerfile('echo it ran') });
    await other.setEnv('late', { CC_TASK: 'true' });
    proxy.freezeAt(/^POST \/containers\/[^ ]+\/start/);
    const pushing = repo.push(await other.pushUrl('late'));
    await until('it was to start', () => proxy.requests.some((line) => /\/start/.test(line)));
    process.kill(await other.workerPid(), 'SIGKILL');
    await proxy.comeBack();
    const push = await pushing;
    expect(push.stderr).toContain('a worker was lost; deploy #1 starts again');
    expect(push.stderr).toMatch(/it ran[^]*success: late v1 ran in/);
    expect(push.code).toBe(0);
  });

  test('is not cut short by a newer push, which waits', async () => {
    await using repo = await appRepository('web', {
      Dockerfile: dockerfile('echo the first began; sleep 4; echo the first ended'),
    });
    await rig.setEnv('patient', { CC_TASK: 'true' });
    const first = repo.push(await rig.pushUrl('patient'));
    await until('it runs', async () =>
      (await containersOf('patient')).some(({ state }) => state === 'running'),
    );
    await repo.commit({ Dockerfile: dockerfile('echo the second') });
    const second = await repo.push(await rig.pushUrl('patient'));
    expect((await first).stderr).toMatch(/the first ended[^]*patient v1 ran in/);
    expect(second.stderr).toMatch(/the second[^]*patient v2 ran in/);
    expect(second.code).toBe(0);
  });

  test('is stopped when its deployment is cancelled', async () => {
    await using repo = await appRepository('web', { Dockerfile: dockerfile('echo began; sleep 1000') });
    await rig.setEnv('endless', { CC_TASK: 'true' });
    const pushing = repo.push(await rig.pushUrl('endless'));
    await until('it runs', async () =>
      (await containersOf('endless')).some(({ state }) => state === 'running'),
    );
    await rig.gantry('deploys', 'cancel', '1', '--app', 'endless');
    const push = await pushing;
    expect(push.stderr).toContain('deploy #1 cancelled');
    expect(push.code).toBe(1);
    await until('nothing is left', async () => (await containersOf('endless')).length === 0);
  });
});

describe('CC_TROUBLESHOOT', () => {
  test('says more, and keeps the container that failed until the next deployment', async () => {
    await using repo = await appRepository('web', {
      Dockerfile: 'FROM gantry-test/base:1\nCOPY version /version\nCMD ["httpd","-f","-p","3000"]\n',
    });
    await rig.setEnv('trouble', { CC_TROUBLESHOOT: 'true' });
    const push = await repo.push(await rig.pushUrl('trouble'));
    expect(push.code).toBe(1);
    expect(push.stderr).toMatch(/network gantry-\S+-trouble, address 10\.\S+, memory 512 MiB/);
    const [, name = ''] = /the container stays for 15 minutes: docker logs (\S+)/.exec(push.stderr) ?? [];
    expect(push.stderr).toContain('gantry exec trouble --deploy 1 -- sh');
    expect(await containersOf('trouble')).toEqual([{ name, state: 'running' }]);

    // The sweep at the start of a worker leaves it alone.
    await rig.stop();
    await rig.start();
    expect(await containersOf('trouble')).toEqual([{ name, state: 'running' }]);

    await repo.commit({ Dockerfile: dockerfile('exec httpd -f -p $PORT -h /') });
    await repo.push(await rig.pushUrl('trouble'));
    expect((await containersOf('trouble')).map((container) => container.name)).not.toContain(name);
  });
});
