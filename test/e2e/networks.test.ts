import { connect, createServer } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { notesApp } from '../support/notes-app.ts';
import { appRepository, freePort, Rig, requestHost, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  const tcp = await freePort();
  rig = await Rig.start({
    GANTRY_TCP_PORTS: `${tcp}-${tcp + 5}`,
    GANTRY_HEALTH_TIMEOUT: '8',
    GANTRY_DRAIN_TIMEOUT: '5',
    GANTRY_STOP_TIMEOUT: '2',
  });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

/** Says its version, and nothing of its notes: it has no volume. */
const app = notesApp;

async function containersOf(name: string) {
  const label = [`gantry.store=${await rig.storeId}`, `gantry.app=${name}`];
  return localDocker().listContainers({ all: true, filters: { label } });
}

async function inspectOne(name: string) {
  const [container] = await containersOf(name);
  return localDocker()
    .getContainer(container?.Id ?? '')
    .inspect();
}

function firstWords(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('data', (chunk) => resolve(chunk.toString()));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed without a word')));
  });
}

describe('the network of the host', () => {
  async function hostApp(name: string, port: number) {
    await rig.setEnv(name, { CC_DOCKER_EXPOSED_HTTP_PORT: String(port) });
    const set = await rig.gantry('apps', 'set', name, '--network', 'host');
    expect(set.stdout).toMatch(/network +host/);
    return appRepository('page', app('v1'));
  }

  test('is what the app listens on; releases are swapped stop-first, and a failed one brings the old one back', async () => {
    const port = await freePort();
    await using repo = await hostApp('outside', port);
    const url = await rig.pushUrl('outside');
    const first = await repo.push(url);
    expect(first.stderr).toContain('warning: the app has the network of the server');
    expect(first.code).toBe(0);
    expect((await inspectOne('outside')).HostConfig.NetworkMode).toBe('host');
    expect((await requestHost(port, 'anything', '/')).body).toBe('v1: none');
    expect((await rig.request('outside')).body).toBe('v1: none');

    await repo.commit(app('v2'));
    const second = await repo.push(url);
    expect(second.stderr).toContain(
      'Stopping v1 before v2 starts: two of them cannot have one port of the host',
    );
    expect(second.code).toBe(0);
    expect((await rig.request('outside')).body).toBe('v2: none');

    await repo.commit(app('v3', 'process.exit(9)'));
    const third = await repo.push(url);
    expect(third.stderr).toMatch(/v2 is started again and serves after/);
    expect(third.code).toBe(1);
    expect((await rig.request('outside')).body).toBe('v2: none');

    // And back to a network of its own, beside the one that serves.
    await rig.gantry('apps', 'set', 'outside', '--network', 'bridge');
    await repo.commit(app('v4'));
    const fourth = await repo.push(url);
    expect(fourth.stderr).not.toContain('Stopping v2');
    expect(fourth.code).toBe(0);
    expect((await rig.request('outside')).body).toBe('v4: none');
    await until('the port is free', async () => {
      const answer = await requestHost(port, 'anything', '/').catch(() => undefined);
      return answer === undefined;
    });
  }, 60_000);

  test('has a port once: who has it already is said before anything is built', async () => {
    const port = await freePort();
    await using first = await hostApp('first', port);
    expect((await first.push(await rig.pushUrl('first'))).code).toBe(0);
    await using second = await hostApp('second', port);
    const push = await second.push(await rig.pushUrl('second'));
    expect(push.stderr).toContain(`port ${port} of the server is taken by the app first`);
    expect(push.stderr).toContain('listen on a free port and set CC_DOCKER_EXPOSED_HTTP_PORT to it');
    expect(push.stderr).not.toContain('Building');
    expect(push.code).toBe(1);
    expect((await rig.request('first')).body).toBe('v1: none');

    // A task listens on nothing.
    await rig.gantry('apps', 'set', 'second', '--task');
    await second.commit({ Dockerfile: 'FROM gantry-test/base:1\nCMD ["echo", "done at once"]\n' });
    const task = await second.push(await rig.pushUrl('second'));
    expect(task.stderr).toContain('done at once');
    expect(task.code).toBe(0);
    await rig.gantry('apps', 'set', 'second', '--no-task');
    await second.commit(app('v2'));

    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const taken = typeof address === 'object' && address ? address.port : 0;
    await rig.setEnv('second', { CC_DOCKER_EXPOSED_HTTP_PORT: String(taken) });
    const again = await second.push(await rig.pushUrl('second'));
    server.close();
    expect(again.stderr).toContain(`port ${taken} of the server is taken by another program`);
  });

  test('goes with a TCP service, whose port is one of the host as well', async () => {
    const [http, tcp] = [await freePort(), await freePort()];
    await using repo = await hostApp('both', http);
    await rig.setEnv('both', { CC_DOCKER_EXPOSED_TCP_PORT: String(tcp) });
    const enabled = await rig.gantry('tcp', 'enable', '--app', 'both', '--json');
    const { port } = JSON.parse(enabled.stdout) as { port: number };
    const says = (version: string) =>
      app(version, `require('node:net').createServer((s) => s.end('${version}')).listen(${tcp});`);
    for (const version of ['v1', 'v2']) {
      await repo.commit(says(version));
      expect((await repo.push(await rig.pushUrl('both'))).code).toBe(0);
      expect(await firstWords(port)).toBe(version);
      expect((await rig.request('both')).body).toBe(`${version}: none`);
    }
    expect((await inspectOne('both')).Config.Labels['gantry.host-ports']).toBe(`${http} ${tcp}`);
  });

  test('goes with one instance', async () => {
    await rig.setEnv('crowd', {});
    await rig.gantry('scale', '--instances', '2', '--app', 'crowd');
    const set = await rig.gantry('apps', 'set', 'crowd', '--network', 'host');
    expect(set.stderr).toContain('one instance');
    expect(set.code).toBe(2);
  });
});

describe('the Docker socket', () => {
  const server = `
const { request } = require('node:http');
require('node:http').createServer((req, res) => {
  request({ socketPath: '/var/run/docker.sock', path: '/_ping' }, (pong) => pong.pipe(res))
    .on('error', (error) => res.end(error.message))
    .end();
}).listen(process.env.PORT);`;

  test('is refused at once to an app that was not allowed to have it, and given with a warning to one that was', async () => {
    await using repo = await appRepository('page', { ...app('v1'), 'server.js': server });
    const url = await rig.pushUrl('manager');
    await rig.setEnv('manager', { CC_MOUNT_DOCKER_SOCKET: 'true' });
    const refused = await repo.push(url);
    expect(refused.stderr).toContain(
      'CC_MOUNT_DOCKER_SOCKET=true, but this app may not have the Docker socket',
    );
    expect(refused.stderr).toContain('gantry apps set manager --docker-socket');
    expect(refused.stderr).not.toContain('Building');
    expect(refused.code).toBe(1);

    await rig.gantry('apps', 'set', 'manager', '--docker-socket');
    const allowed = await repo.push(url);
    expect(allowed.stderr).toContain('warning: the app gets the Docker socket');
    expect(allowed.code).toBe(0);
    expect((await rig.request('manager')).body).toBe('OK');

    // Allowed is not asked for.
    await rig.setEnv('manager', { CC_MOUNT_DOCKER_SOCKET: 'false' });
    const without = await repo.push(url, 'main:redeploy');
    expect(without.stderr).not.toContain('the Docker socket');
    expect((await rig.request('manager')).body).toContain('ENOENT');
  });
});

test.each([{ network: 'host' }, { dockerSocket: true }])(
  'only an administrator gives an app %j',
  async (change) => {
    await rig.setEnv('lowly', {});
    const authorization = `Bearer ${await rig.createToken('ana', ['deploy:lowly'])}`;
    const patch = (body: unknown) =>
      fetch(`http://127.0.0.1:${rig.port}/api/v1/apps/lowly/options`, {
        method: 'PATCH',
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    expect((await patch({ instances: 2 })).status).toBe(200);
    const refused = await patch(change);
    expect(refused.status).toBe(403);
    expect(await refused.text()).toContain('only an administrator');
    await patch({ instances: 1 });
  },
);

describe('an IPv6 subnet', () => {
  /** Of this run alone. */
  const prefix = `fd67:${(process.pid & 0xffff).toString(16)}:${(Date.now() & 0xffff).toString(16)}`;

  test('is what the container has an address of, and the app is reachable over it and as ever', async () => {
    await using repo = await appRepository('page', app('v1'));
    const url = await rig.pushUrl('six');
    expect((await repo.push(url)).code).toBe(0);

    await rig.setEnv('six', { CC_DOCKER_FIXED_CIDR_V6: `${prefix}:1::/64` });
    await repo.commit(app('v2'));
    expect((await repo.push(url)).code).toBe(0);
    expect((await rig.request('six')).body).toBe('v2: none');
    await until('the old one is gone', async () => (await containersOf('six')).length === 1);
    const { NetworkSettings } = await inspectOne('six');
    const [network] = Object.values(NetworkSettings.Networks);
    expect(network?.GlobalIPv6Address).toMatch(new RegExp(`^${prefix}:1::`));
    const answer = await fetch(`http://[${network?.GlobalIPv6Address}]:8080/`);
    expect(await answer.text()).toBe('v2: none');

    // Twice in one network, then in another subnet, then without.
    expect((await repo.push(url, 'main:redeploy')).code).toBe(0);
    await rig.setEnv('six', { CC_DOCKER_FIXED_CIDR_V6: `${prefix}:2::/80` });
    expect((await repo.push(url, 'main:redeploy')).code).toBe(0);
    await rig.setEnv('six', { CC_DOCKER_FIXED_CIDR_V6: null });
    expect((await repo.push(url, 'main:redeploy')).code).toBe(0);
    expect((await rig.request('six')).body).toBe('v2: none');
    await until('only the last is left', async () => (await containersOf('six')).length === 1);
    await until('its IPv6 networks are gone', async () => {
      const filters = { label: [`gantry.store=${await rig.storeId}`, 'gantry.app=six'] };
      return (await localDocker().listNetworks({ filters })).length === 1;
    });

    // So another app can have the addresses.
    await using next = await appRepository('page', app('v1'));
    await rig.setEnv('seven', { CC_DOCKER_FIXED_CIDR_V6: `${prefix}:1::/64` });
    expect((await next.push(await rig.pushUrl('seven'))).code).toBe(0);

    await rig.setEnv('six', { CC_DOCKER_FIXED_CIDR_V6: `${prefix}::/48` });
    const overlap = await repo.push(url, 'main:redeploy');
    expect(overlap.stderr).toContain(
      `CC_DOCKER_FIXED_CIDR_V6=${prefix}::/48 overlaps the network of the app seven (${prefix}:1::/64)`,
    );
    expect(overlap.code).toBe(1);
  }, 90_000);

  test('is refused when it is none, or none that can be', async () => {
    await rig.setEnv('six', {});
    for (const [value, message] of [
      ['fd00::1/64', 'fd00::/64 may be meant'],
      ['fe80::/64', 'unique local'],
      ['10.0.0.0/8', 'must be an IPv6 subnet'],
    ]) {
      const answer = await rig.gantry('env', 'set', `CC_DOCKER_FIXED_CIDR_V6=${value}`, '--app', 'six');
      expect(answer.stderr).toContain(message);
      expect(answer.code).toBe(2);
    }
  });
});
