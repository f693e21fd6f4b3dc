import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { appRepository, freePort, Rig, until } from '../support/rig.ts';
import { relayApp, storeOptions } from '../support/store-service.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_STOP_TIMEOUT: '2' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

async function deployRelay(app: string): Promise<void> {
  await using repo = await appRepository('web', relayApp);
  const push = await repo.push(await rig.pushUrl(app));
  if (push.code !== 0) throw new Error(push.stderr);
}

/** What the app gets from there. */
async function reach(app: string, place: string): Promise<string> {
  return (await rig.request(app, `/${place}`)).body;
}

async function containerOf(service: string) {
  const label = [`gantry.store=${await rig.storeId}`, `gantry.service=${service}`];
  const [container] = await localDocker().listContainers({ all: true, filters: { label } });
  return container && localDocker().getContainer(container.Id).inspect();
}

async function show(service: string): Promise<{ state: string; reason: string | null }> {
  return JSON.parse((await rig.gantry('services', 'show', service, '--json')).stdout);
}

describe('a service that runs here', () => {
  test('is reached by its name from the apps that have it, and by nobody else', async () => {
    await Promise.all([deployRelay('one'), deployRelay('two'), deployRelay('other')]);
    const made = await rig.gantry('services', 'create', 'store', ...storeOptions);
    expect(made.stderr).toMatch(/store starts: gantry-test\/node:1, container/);
    expect(made.stderr).toMatch(/store is there \(\d+\.\ds\); give it to an app: gantry bind APP store/);
    const inspected = await containerOf('store');
    expect(inspected?.HostConfig).toMatchObject({
      RestartPolicy: { Name: 'always' },
      Memory: 512 * 1024 ** 2,
      PortBindings: {},
    });

    for (const app of ['one', 'two']) {
      await rig.gantry('bind', app, 'store');
      expect((await rig.gantry('restart', '--app', app)).stdout).toMatch(/with its services: store/);
    }
    expect(await reach('one', 'store:7000/?add=first')).toBe('first');
    expect(await reach('two', 'store:7000/')).toBe('first');
    expect(JSON.parse(await reach('one', ''))).toMatchObject({
      VCAP_SERVICES: expect.stringContaining('"hostname":"store"'),
    });

    // Neither by its name nor by any address of it; nor do the two that share it meet there.
    expect(await reach('other', 'store:7000/')).toMatch(/unreachable/);
    const addresses = Object.values((await containerOf('store'))?.NetworkSettings.Networks ?? {});
    expect(addresses).toHaveLength(3);
    for (const { IPAddress } of addresses)
      expect(await reach('other', `${IPAddress}:7000/`)).toMatch(/unreachable/);
    const label = [`gantry.store=${await rig.storeId}`, 'gantry.app=one'];
    const [one] = await localDocker().listContainers({ filters: { label } });
    for (const { IPAddress } of Object.values(one?.NetworkSettings.Networks ?? {}))
      expect(await reach('two', `${IPAddress}:8080/`)).toMatch(/unreachable/);

    const task = await rig.gantry(
      'run',
      '--app',
      'two',
      '--no-tty',
      '--',
      'node',
      '-e',
      'fetch("http://store:7000").then((r) => r.text()).then(console.log)',
    );
    expect(task).toMatchObject({ code: 0, stdout: 'first\n' });

    // What runs keeps what it was told of; the next release is without it.
    await rig.gantry('unbind', 'two', 'store');
    expect(await reach('two', 'store:7000/')).toBe('first');
    expect((await rig.gantry('restart', '--app', 'two')).code).toBe(0);
    await until('the service has left', async () => /unreachable/.test(await reach('two', 'store:7000/')));
    expect(await reach('one', 'store:7000/')).toBe('first');
  }, 90_000);

  test('comes back with its data when its container ends or is removed, or its worker dies', async () => {
    await rig.gantry('services', 'create', 'lasting', ...storeOptions);
    await deployRelay('user');
    await rig.gantry('bind', 'user', 'lasting');
    await rig.gantry('restart', '--app', 'user');
    expect(await reach('user', 'lasting:7000/?add=kept')).toBe('kept');
    const isBack = (): Promise<boolean> => reach('user', 'lasting:7000/').then((text) => text === 'kept');

    const before = await containerOf('lasting');
    process.kill(before?.State.Pid ?? 0, 'SIGKILL');
    await until('it is restarted', isBack);
    await localDocker()
      .getContainer(before?.Id ?? '')
      .remove({ force: true });
    await until('it is made again', isBack);
    expect((await containerOf('lasting'))?.Id).not.toBe(before?.Id);

    expect((await rig.gantry('services', 'update', 'lasting', '--memory', '64M')).stderr).toBe(
      'lasting is changed\n',
    );
    expect((await containerOf('lasting'))?.HostConfig.Memory).toBe(64 * 1024 ** 2);
    expect(await reach('user', 'lasting:7000/')).toBe('kept');

    // Stopped by hand while nobody looks after it.
    process.kill(await rig.workerPid(), 'SIGKILL');
    await localDocker()
      .getContainer((await containerOf('lasting'))?.Id ?? '')
      .stop({ t: 1 });
    await until('the next worker has it running', isBack);
  }, 90_000);

  test('that does not start says why, and starts once it can', async () => {
    const made = await rig.gantry(
      'services',
      'create',
      'broken',
      '--image',
      'gantry-test/node:1',
      '--port',
      '7000',
      '--path',
      '/data',
      '--env',
      'PASSWORD=a-long-password',
      '--command',
      'echo "no: $PASSWORD"; exit 3',
    );
    expect(made).toMatchObject({ code: 1 });
    expect(made.stderr).toMatch(/broken does not run: it exited with code 3; it said last: no: \(hidden\)/);
    expect(await show('broken')).toMatchObject({ state: 'failed', reason: expect.stringMatching(/code 3/) });
    await rig.api('POST', '/apps', { name: 'waits' });
    await rig.gantry('bind', 'waits', 'broken');
    await using repo = await appRepository('web', relayApp);
    const push = await repo.push(await rig.pushUrl('waits'));
    expect(push.stderr).toMatch(/the service broken does not run/);

    // Nobody waits for one that is to go, however long it takes to start.
    const slow = [
      'services',
      'create',
      'slow',
      '--image',
      'gantry-test/node:1',
      '--port',
      '7000',
      '--path',
      '/data',
    ];
    expect(await rig.gantry(...slow, '--command', 'sleep 1000', '--detach')).toMatchObject({ code: 0 });
    await until('it starts', async () => (await containerOf('slow')) !== undefined);
    const removed = await rig.gantry('services', 'delete', 'slow', '--delete-data', '--confirm', 'slow');
    expect(removed).toMatchObject({ code: 0 });

    const [, ...others] = storeOptions;
    const gone = await rig.gantry('services', 'create', 'late', '--image', 'gantry-test/none:7', ...others);
    expect(gone.stderr).toMatch(/late does not run: cannot pull gantry-test\/none:7: /);
    const found = await rig.gantry('services', 'update', 'late', '--image', 'gantry-test/node:1');
    expect(found).toMatchObject({ code: 0, stderr: 'late is changed\n' });
    expect(await show('late')).toMatchObject({ state: 'ready', reason: null });
    const absent = await rig.gantry(
      'services',
      'create',
      'absent',
      '--template',
      'mariadb',
      '--image',
      'localhost:1/no:1',
    );
    expect(absent.stderr).toMatch(/absent does not run: cannot pull localhost:1\/no:1: /);
  }, 60_000);

  test('is not reached in the network of the server, which is said before anything starts', async () => {
    await deployRelay('hostly');
    await rig.setEnv('hostly', { CC_DOCKER_EXPOSED_HTTP_PORT: String(await freePort()) });
    await rig.api('PATCH', '/apps/hostly/options', { network: 'host' });
    await rig.gantry('services', 'create', 'inside', ...storeOptions);
    await rig.gantry('bind', 'hostly', 'inside');
    const restart = await rig.gantry('restart', '--app', 'hostly');
    expect(restart.stdout + restart.stderr).toMatch(
      /the app has the network of the server, where the service inside cannot be reached/,
    );
    expect((await rig.request('hostly')).status).toBe(200);
  }, 60_000);

  test('goes for good with its data once its name was given, but not from under an app', async () => {
    await rig.gantry('services', 'create', 'doomed', ...storeOptions);
    await deployRelay('has');
    await rig.gantry('bind', 'has', 'doomed');
    await rig.gantry('restart', '--app', 'has');
    const remove = (...args: string[]) => rig.gantry('services', 'delete', 'doomed', ...args);
    expect((await remove()).stderr).toMatch(/the data of doomed go with it/);
    expect((await remove('--delete-data')).stderr).toMatch(/to say that you mean it: --confirm doomed/);
    expect((await remove('--delete-data', '--confirm', 'dommed')).stderr).toMatch(/nothing was deleted/);
    expect(await remove('--delete-data', '--confirm', 'doomed')).toMatchObject({
      code: 5,
      stderr: expect.stringMatching(/doomed is bound to has/),
    });
    expect((await containerOf('doomed'))?.State.Running).toBe(true);

    // An app takes none of a service with it.
    expect((await rig.gantry('apps', 'delete', 'has', '--confirm', 'has')).code).toBe(0);
    expect((await containerOf('doomed'))?.State.Running).toBe(true);
    expect(await remove('--delete-data', '--confirm', 'doomed')).toMatchObject({
      code: 0,
      stderr: 'doomed is deleted\n',
    });
    const filters = { label: ['gantry.service=doomed', `gantry.store=${await rig.storeId}`] };
    const docker = localDocker();
    expect(await docker.listContainers({ all: true, filters })).toEqual([]);
    expect((await docker.listVolumes({ filters })).Volumes ?? []).toEqual([]);
    expect(await docker.listNetworks({ filters })).toEqual([]);
    const images = await docker.listImages();
    expect(images.flatMap(({ RepoTags }) => RepoTags ?? []).filter((tag) => tag.includes('doomed'))).toEqual(
      [],
    );
    expect(await rig.gantry('services', 'show', 'doomed')).toMatchObject({ code: 4 });
  }, 60_000);

  test.each([
    [{}, /a service has credentials, a template or an image/],
    [{ image: 'a b' }, /the name of an image has no spaces/],
    [{ image: 'gantry-test/node:1' }, /nobody knows where gantry-test\/node:1 listens/],
    [{ image: 'x', port: 1, path: 'data' }, /the path of a volume is absolute/],
    [{ image: 'x', port: 70_000, path: '/data' }, /port/],
    [{ template: 'oracle' }, /template/],
    [{ template: 'redis', port: 7 }, /with the template redis only a password can be given/],
    [{ template: 'redis', credentials: { password: 'a b' } }, /a password has letters/],
    [{ template: 'redis', env: { '1A': 'x' } }, /the name of a variable/],
    [{ credentials: {}, memory: 64 * 1024 ** 2 }, /memory is for a service that runs here/],
  ])('wanted as %j is refused', async (wish, message) => {
    const answer = await rig.api('POST', '/services', { name: 'refused', ...wish });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(423);
    expect(answer.body).toMatch(message);
  });
});
