import { readFile, rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { haproxyPaths } from '../../src/router/haproxy-config.ts';
import { killAll } from '../support/processes.ts';
import { ask, servedBy } from './support/client.ts';
import { eventually, pidsOf, RouterRig, route } from './support/rig.ts';
import { Upstream } from './support/upstream.ts';

test('what somebody changes through the socket of HAProxy is put right, and nothing else is touched', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  using other = await Upstream.start('other');
  const routes = [route('blog', [v1.endpoint]), route('shop', [other.endpoint])];
  await rig.router.apply(routes);
  const worker = await rig.runtime.workerPid();
  const live = (await rig.runtime.backends()).get('blog')?.findIndex(({ use }) => use === 'live') ?? -1;
  await rig.runtime.point({ app: 'blog', index: live }, other.endpoint);
  await rig.runtime.removeHost('shop.test/');
  expect(await servedBy(rig.port, 'blog.test')).toBe('other');
  expect((await ask({ port: rig.port, host: 'shop.test' })).status).toBe(404);
  await eventually(
    () => servedBy(rig.port, 'blog.test'),
    (name) => name === 'v1',
  );
  expect(await servedBy(rig.port, 'shop.test')).toBe('other');
  expect(await rig.runtime.workerPid()).toBe(worker);
});

test('its files are written again when somebody removed them, also when it was killed with that', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  const before = await rig.config();
  const { config, hosts } = haproxyPaths(rig.dir);
  await rm(config);
  await eventually(
    () => readFile(config, 'utf8'),
    (text) => text === before,
  );
  await Promise.all([rm(config), rm(hosts)]);
  killAll(await pidsOf(rig.dir, 'haproxy'));
  await eventually(
    () => servedBy(rig.port, 'blog.test'),
    (name) => name === 'v1',
  );
  expect(await rig.config()).toBe(before);
});
