import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { haproxyPaths } from '../../src/router/haproxy-config.ts';
import { HaproxyRouter } from '../../src/router/haproxy-router.ts';
import { ask, servedBy, startLoad } from './support/client.ts';
import { eventually, freePort, logger, pidsOf, RouterRig, route, tempDir } from './support/rig.ts';
import { Upstream } from './support/upstream.ts';

test('HAProxy serves on without a controller, and the next controller adopts it as it is', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  using v2 = await Upstream.start('v2');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  const worker = await rig.runtime.workerPid();
  const load = startLoad(rig.port, 'blog.test');
  await rig.replaceController();
  expect(await rig.runtime.workerPid()).toBe(worker);
  await rig.router.apply([route('blog', [v2.endpoint], [v1.endpoint])]);
  expect(await rig.drain('blog', v1.endpoint)).toBe('idle');
  await load.stop();
  expect(load.failures).toEqual([]);
  expect(await servedBy(rig.port, 'blog.test')).toBe('v2');
  expect(await rig.runtime.workerPid()).toBe(worker);
});

test('a controller that adopts in the middle of a drain finishes it', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  using v2 = await Upstream.start('v2');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  const slow = ask({ port: rig.port, host: 'blog.test', path: '/slow?ms=1500' });
  await eventually(
    () => v1.requests,
    (count) => count > 0,
  );
  const swapped = [route('blog', [v2.endpoint], [v1.endpoint])];
  await rig.router.apply(swapped);
  await rig.replaceController();
  await rig.router.apply(swapped);
  expect(await rig.drain('blog', v1.endpoint)).toBe('idle');
  expect((await slow).body).toBe('slow');
  expect(await rig.config()).not.toContain(String(v1.endpoint.port));
});

test.each(['half a swap', 'a swap that was not written down'])(
  'a controller that finds %s puts it right',
  async (what) => {
    await using rig = await RouterRig.start();
    using v1 = await Upstream.start('v1');
    using v2 = await Upstream.start('v2');
    await rig.router.apply([route('blog', [v1.endpoint])]);
    await rig.router.close();
    await rig.runtime.point({ app: 'blog', index: 2 }, v2.endpoint);
    if (what !== 'half a swap') await rig.runtime.setState({ app: 'blog', index: 2 }, 'ready');
    await rig.replaceController();
    await rig.router.apply([route('blog', [v2.endpoint])]);
    expect(await servedBy(rig.port, 'blog.test')).toBe('v2');
    const config = await eventually(
      () => rig.config(),
      (text) => !text.includes(String(v1.endpoint.port)),
    );
    expect(config).toContain(`  server s2 127.0.0.1:${v2.endpoint.port}\n`);
  },
);

test.each(['worker', 'master'] as const)(
  'a killed %s is back in a moment with the same routes',
  async (which) => {
    await using rig = await RouterRig.start();
    using v1 = await Upstream.start('v1');
    using v2 = await Upstream.start('v2');
    await rig.router.apply([route('blog', [v1.endpoint])]);
    await rig.router.apply([route('blog', [v2.endpoint], [v1.endpoint])]);
    const { master, worker } = await rig.runtime.processes();
    process.kill(which === 'master' ? master : (worker ?? 0), 'SIGKILL');
    await isBack(rig, master, 'v2');
    // The controller notices by itself that this is another process, and goes on from what it has.
    expect(await rig.drain('blog', v1.endpoint)).toBe('idle');
    await rig.router.apply([route('blog', [v1.endpoint], [v2.endpoint]), route('shop', [v1.endpoint])]);
    expect(await servedBy(rig.port, 'blog.test')).toBe('v1');
    expect(await servedBy(rig.port, 'shop.test')).toBe('v1');
  },
);

test('a killed HAProxy is back without a controller', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  await rig.router.close();
  const { master } = await rig.runtime.processes();
  process.kill(master, 'SIGKILL');
  expect(await isBack(rig, master, 'v1')).toBe(true);
});

test('a killed supervisor is replaced by the next controller, and HAProxy is not touched', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  const before = await rig.runtime.processes();
  for (const pid of await pidsOf(rig.dir, 'sh')) process.kill(pid, 'SIGKILL');
  await rig.replaceController();
  expect(await rig.runtime.processes()).toEqual(before);
  process.kill(before.master, 'SIGKILL');
  expect(await isBack(rig, before.master, 'v1')).toBe(true);
});

test('there is one supervisor, however many controllers there were', async () => {
  await using rig = await RouterRig.start();
  for (let count = 0; count < 3; count++) await rig.replaceController();
  const pids = await eventually(
    () => pidsOf(rig.dir, 'sh'),
    ({ length }) => length === 1,
  );
  expect(pids).toHaveLength(1);
});

test('when everything was killed, the routes are served from the file before anybody applies them', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  await rig.router.apply([route('blog', [v1.endpoint]), route('empty', [])]);
  await rig.router.stop();
  await rig.replaceController();
  expect(await servedBy(rig.port, 'blog.test')).toBe('v1');
  expect(await servedBy(rig.port, 'empty.test')).toBe('503');
});

test('stop ends HAProxy and its supervisor', async () => {
  await using rig = await RouterRig.start();
  const { master, worker } = await rig.runtime.processes();
  await rig.router.stop();
  expect(await pidsOf(rig.dir, 'sh')).toEqual([]);
  for (const pid of [master, worker ?? 0]) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  await expect(ask({ port: rig.port, host: 'blog.test' })).rejects.toThrow('ECONNREFUSED');
});

test('HAProxy gets nothing of our environment', async () => {
  process.env.SECRET_OF_THE_TEST = 'hush';
  await using rig = await RouterRig.start();
  delete process.env.SECRET_OF_THE_TEST;
  const { master } = await rig.runtime.processes();
  expect(await readFile(`/proc/${master}/environ`, 'utf8')).not.toContain('SECRET_OF_THE_TEST');
});

test('a missing HAProxy says how to get it', async () => {
  await using dir = await tempDir();
  const router = new HaproxyRouter({ dir: dir.path, httpPort: 1, logger, haproxyBinary: '/nowhere/haproxy' });
  await expect(router.start()).rejects.toThrow(
    '/nowhere/haproxy was not found; install it: apt-get install haproxy',
  );
});

test('an HAProxy that is too old is refused', async () => {
  await using dir = await tempDir();
  const old = join(dir.path, 'haproxy');
  await writeFile(
    old,
    '#!/bin/sh\necho "HA-Proxy version 2.4.24-0ubuntu0.22.04.2 2024/05/28 - https://haproxy.org/"\n',
  );
  await chmod(old, 0o755);
  const router = new HaproxyRouter({ dir: dir.path, httpPort: 1, logger, haproxyBinary: old });
  await expect(router.start()).rejects.toThrow(`${old} is version 2.4; Gantry needs haproxy 2.6 or later`);
});

test('a folder that is too long for unix sockets is refused, and the longest one works', async () => {
  await using dir = await tempDir();
  const httpPort = await freePort();
  const longest = join(dir.path, 'x'.repeat(84 - dir.path.length - 1));
  await expect(new HaproxyRouter({ dir: `${longest}x`, httpPort, logger }).start()).rejects.toThrow(
    /is too long for unix sockets; use one of at most 84 characters$/,
  );
  const router = new HaproxyRouter({ dir: longest, httpPort, logger });
  await router.start();
  expect(await servedBy(httpPort, 'blog.test')).toBe('404');
  await router.stop();
});

test('a configuration HAProxy refuses is an error with its reason, and the old one serves on', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  const before = await rig.config();
  await writeFile(join(haproxyPaths(rig.dir).pages, 'no-answer.http'), 'not HTTP');
  await expect(rig.router.apply([route('blog', [v1.endpoint]), route('shop', [])])).rejects.toThrow(
    /^HAProxy refused its configuration: .*no-answer\.http/,
  );
  expect(await rig.config()).toBe(before);
  expect(await servedBy(rig.port, 'blog.test')).toBe('v1');
});

/** Another HAProxy than the one with this master answers, with the routes of the file. */
async function isBack(rig: RouterRig, master: number, expected: string): Promise<boolean> {
  await eventually(
    async () => (await rig.runtime.processes()).master,
    (pid) => pid !== master,
  );
  await eventually(
    () => servedBy(rig.port, 'blog.test'),
    (answer) => answer === expected,
  );
  return true;
}
