import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { ask, startLoad } from './support/client.ts';
import { app, eventually, RouterRig, route } from './support/rig.ts';
import { Upstream } from './support/upstream.ts';

async function failuresOf(rig: RouterRig): Promise<number> {
  const counts = await rig.router.failures(app('blog'));
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

test('a request that breaks is a failure; one that is repeated, and what is cut at the end of a drain, is none', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  using v2 = await Upstream.start('v2');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  expect(await failuresOf(rig)).toBe(0);

  const load = startLoad(rig.port, 'blog.test');
  await eventually(
    () => v1.requests,
    (count) => count > 50,
  );
  const socket = new WebSocket(`ws://127.0.0.1:${rig.port}/`, { headers: { host: 'blog.test' } });
  await new Promise((resolve) => socket.once('open', resolve));
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await rig.router.apply([route('blog', [v2.endpoint], [v1.endpoint])]);
  expect(await rig.drain('blog', v1.endpoint, 300)).toBe('cut');
  await closed;
  await load.stop();
  expect(load.failures).toEqual([]);
  expect(await failuresOf(rig)).toBe(0);

  const before = v2.requests;
  const broken = ask({ port: rig.port, host: 'blog.test', path: '/slow?ms=60000', body: 'an order' });
  await eventually(
    () => v2.requests,
    (count) => count > before,
  );
  v2.kill();
  expect((await broken).status).toBe(502);
  // HAProxy 2.6 counts it twice.
  expect(await failuresOf(rig)).toBeGreaterThan(0);
});

test('visitors’ waiting times are told', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  expect(await rig.router.requestTimes()).toBeUndefined();
  await ask({ port: rig.port, host: 'blog.test', path: '/slow?ms=400' });
  const times = await rig.router.requestTimes();
  expect(times?.firstByte).toBeGreaterThan(0.35);
  expect(times?.lastByte).toBeGreaterThan(0.35);
  expect(times?.lastByte).toBeLessThan(5);
});
