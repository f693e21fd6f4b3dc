import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { notesApp } from '../support/notes-app.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { Visitors } from '../support/visitor.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '8', GANTRY_DRAIN_TIMEOUT: '5', GANTRY_STOP_TIMEOUT: '2' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

async function appWithVolume(app: string) {
  const repo = await appRepository('page', notesApp('v1'));
  await rig.setEnv(app, {});
  const added = await rig.gantry('volumes', 'add', app, 'notes:/data');
  expect(added.stderr).toContain('gets notes at /data with the next deployment');
  expect((await repo.push(await rig.pushUrl(app))).code).toBe(0);
  await rig.request(app, '/add?text=kept');
  return repo;
}

async function containersOf(app: string) {
  const label = [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`];
  return localDocker().listContainers({ all: true, filters: { label } });
}

async function volumesOf(app: string): Promise<string[]> {
  const label = [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`];
  return ((await localDocker().listVolumes({ filters: { label } })).Volumes ?? []).map(({ Name }) => Name);
}

describe('a volume', () => {
  test('outlives the swap, in which the old container stops before the new one starts', async () => {
    await using repo = await appWithVolume('diary');
    const [old] = await containersOf('diary');
    await repo.commit(notesApp('v2'));
    const push = await repo.push(await rig.pushUrl('diary'));
    expect(push.stderr).toContain('Stopping v1 before v2 starts: the app has a volume');
    expect(push.stderr).toMatch(/v1 is stopped after .*; visitors get a 503 until v2 is healthy/);
    expect(push.code).toBe(0);
    expect((await rig.request('diary')).body).toBe('v2: kept');

    const containers = await containersOf('diary');
    expect(containers).toHaveLength(1);
    const started = await localDocker()
      .getContainer(containers[0]?.Id ?? '')
      .inspect();
    const died = await diedAt(old?.Id ?? '');
    expect(died).toBeLessThan(Date.parse(started.State.StartedAt));

    const restart = await rig.gantry('restart', '--app', 'diary');
    expect(restart.stdout).toContain('Stopping v2 before v3 starts');
    expect(restart.code).toBe(0);
    expect((await rig.request('diary')).body).toBe('v2: kept');
  });

  test('brings the old container back, and says so, when the new one fails', async () => {
    await using repo = await appWithVolume('stubborn');
    const [before] = await containersOf('stubborn');
    await repo.commit(notesApp('v2', 'process.exit(3)'));
    const push = await repo.push(await rig.pushUrl('stubborn'));
    expect(push.stderr).toContain('it exited with code 3');
    expect(push.stderr).toMatch(/v1 is started again and serves after/);
    expect(push.stderr).toContain('v1 is still serving');
    expect(push.code).toBe(1);
    expect((await rig.request('stubborn')).body).toBe('v1: kept');
    expect((await containersOf('stubborn')).map(({ Id }) => Id)).toEqual([before?.Id]);

    await repo.commit(notesApp('v3'));
    expect((await repo.push(await rig.pushUrl('stubborn'))).code).toBe(0);
    expect((await rig.request('stubborn')).body).toBe('v3: kept');
  });

  test('comes with its old container when the deployment is cancelled in between', async () => {
    await using repo = await appWithVolume('changed-mind');
    await repo.commit({ Dockerfile: 'FROM gantry-test/base:1\nCMD ["sleep","1000"]\n' });
    const pushing = repo.push(await rig.pushUrl('changed-mind'));
    await until('the new one is started', async () =>
      (await containersOf('changed-mind')).some(
        ({ Labels, State }) => Labels['gantry.release'] === '2' && State === 'running',
      ),
    );
    expect((await rig.request('changed-mind')).status).toBe(503);
    await rig.gantry('deploys', 'cancel', '2', '--app', 'changed-mind');
    const push = await pushing;
    expect(push.stderr).toContain('cancelled');
    expect((await rig.request('changed-mind')).body).toBe('v1: kept');
    expect(await containersOf('changed-mind')).toHaveLength(1);
  });

  test('has nobody to bring back when its old container was removed meanwhile, and says so', async () => {
    await using repo = await appWithVolume('bereft');
    const [old] = await containersOf('bereft');
    await repo.commit({ Dockerfile: 'FROM gantry-test/base:1\nCMD ["sleep","1000"]\n' });
    const pushing = repo.push(await rig.pushUrl('bereft'));
    await until('the new one is started', async () => (await containersOf('bereft')).length === 2);
    await localDocker()
      .getContainer(old?.Id ?? '')
      .remove({ force: true });
    const push = await pushing;
    expect(push.stderr).toContain('v1 could not be started again: its containers are gone');
    expect(push.stderr).not.toContain('still serving');
    expect((await rig.request('bereft')).status).toBe(503);

    await repo.commit(notesApp('v3'));
    expect((await repo.push(await rig.pushUrl('bereft'))).code).toBe(0);
    expect((await rig.request('bereft')).body).toBe('v3: kept');
  });

  test('comes back also when the worker dies while nothing serves', async () => {
    await using repo = await appWithVolume('orphan');
    await repo.commit({ Dockerfile: 'FROM gantry-test/base:1\nCMD ["sleep","1000"]\n' });
    const pushing = repo.push(await rig.pushUrl('orphan'));
    await until('the new one is started', async () =>
      (await containersOf('orphan')).some(
        ({ Labels, State }) => Labels['gantry.release'] === '2' && State === 'running',
      ),
    );
    process.kill(await rig.workerPid(), 'SIGKILL');
    await until('it serves again', async () => (await rig.request('orphan')).status === 200, 60_000);
    // It does while the next worker builds again, stops for it, and serves again when that fails.
    const push = await pushing;
    expect(push.code).toBe(1);
    expect((await rig.request('orphan')).body).toBe('v1: kept');
    expect(await containersOf('orphan')).toHaveLength(1);
  }, 90_000);

  test('swaps start-first without a failed request when that was asked for', async () => {
    await using repo = await appWithVolume('shared');
    await rig.gantry('apps', 'set', 'shared', '--swap', 'start-first');
    const visitors = new Visitors(rig.httpPort, 'shared.localhost', 100);
    await repo.commit(notesApp('v2'));
    const push = await repo.push(await rig.pushUrl('shared'));
    await visitors.leave();
    expect(push.stderr).not.toContain('Stopping v1');
    expect(visitors.failures).toEqual([]);
    expect((await rig.request('shared')).body).toBe('v2: kept');
  });

  test('keeps its data when it is removed, until they are to be deleted', async () => {
    await using repo = await appWithVolume('leaving');
    const url = await rig.pushUrl('leaving');
    expect(await volumesOf('leaving')).toHaveLength(1);
    const removed = await rig.gantry('volumes', 'remove', 'leaving', 'notes');
    expect(removed.stderr).toContain('its data are kept');
    expect((await rig.gantry('volumes', 'list', 'leaving')).stdout).toContain('its data are still there');
    await repo.commit({
      Dockerfile: 'FROM gantry-test/node:1\nCOPY . /app\nRUN mkdir /data\nCMD ["node","/app/server.js"]\n',
    });
    expect((await repo.push(url)).stderr).toContain('leaving v2 is live');
    expect((await rig.request('leaving')).body).toBe('v1: none');

    await rig.gantry('volumes', 'add', 'leaving', 'notes:/data');
    expect((await repo.push(url, 'main:redeploy')).code).toBe(0);
    expect((await rig.request('leaving')).body).toBe('v1: kept');

    const deleted = await rig.gantry('volumes', 'remove', 'leaving', 'notes', '--delete-data');
    expect(deleted.stderr).toContain('are deleted once no container uses them');
    expect((await rig.request('leaving')).body).toBe('v1: kept');
    expect((await repo.push(url, 'main:redeploy')).code).toBe(0);
    await until('the volume is gone', async () => (await volumesOf('leaving')).length === 0, 40_000);
    await until('it is not listed', async () => {
      const { stdout } = await rig.gantry('volumes', 'list', 'leaving', '--json');
      return stdout.trim() === '[]';
    });
  }, 90_000);

  test.each([
    ['notes:data', 'the path of a volume is absolute'],
    ['notes:/', 'a folder other than /'],
    ['notes:/srv/../etc', 'without ".."'],
    ['notes:/proc/sys', 'which belong to the kernel'],
    ['No.Tes:/data', 'the name of a volume'],
    ['notes', 'is not NAME:/path'],
  ])('%s is refused', async (volume, message) => {
    await rig.setEnv('refused', {});
    const answer = await rig.gantry('volumes', 'add', 'refused', volume);
    expect(answer.code).toBe(2);
    expect(answer.stderr).toContain(message);
  });

  test('is of one app, and at a path of its own', async () => {
    await rig.setEnv('refused', {});
    expect((await rig.gantry('volumes', 'add', 'refused', 'one:/data')).code).toBe(0);
    expect((await rig.gantry('volumes', 'add', 'refused', 'one:/other')).stderr).toContain(
      'already, at /data',
    );
    expect((await rig.gantry('volumes', 'add', 'refused', 'two:/data')).code).toBe(5);
    expect((await rig.gantry('volumes', 'remove', 'refused', 'two')).code).toBe(4);
  });
});

/** When the engine last saw it end, in milliseconds. */
async function diedAt(container: string): Promise<number> {
  const events = (await localDocker().getEvents({
    since: Math.floor(Date.now() / 1000) - 300,
    until: Math.floor(Date.now() / 1000) + 1,
    filters: { container: [container], event: ['die'] },
  })) as AsyncIterable<Buffer>;
  let text = '';
  for await (const chunk of events) text += chunk.toString();
  const [last] = text.trim().split('\n').slice(-1);
  return (JSON.parse(last ?? '{}') as { timeNano: number }).timeNano / 1e6;
}
