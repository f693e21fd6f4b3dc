import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { messageOf } from '../../src/errors.ts';
import { ask, servedBy, startLoad } from './support/client.ts';
import { app, eventually, RouterRig, route } from './support/rig.ts';
import { Upstream } from './support/upstream.ts';

test('a new app answers on its host name, in any spelling and with a port', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  for (const host of ['blog.test', 'BLOG.Test', `blog.test:${rig.port}`]) {
    expect(await servedBy(rig.port, host)).toBe('v1');
  }
});

test('a path of a host leads to another app, the longest first, and is not changed on the way', async () => {
  await using rig = await RouterRig.start();
  using shop = await Upstream.start('v1');
  using blog = await Upstream.start('v2');
  using deep = await Upstream.start('v3');
  const routes = [
    route('shop', [shop.endpoint], [], ['www.test']),
    route('blog', [blog.endpoint], [], ['www.test/api', 'only.test/api']),
    route('deep', [deep.endpoint], [], ['www.test/api/v1']),
  ];
  await rig.router.apply(routes);
  const at = (path: string) => servedBy(rig.port, 'WWW.test:80', path);
  for (const path of ['/', '/apis', '/api.html', '/%61pi', '/shop/api']) expect(await at(path)).toBe('v1');
  expect(await servedBy(rig.port, 'www.test', '*', 'OPTIONS')).toBe('v1');
  for (const path of ['/api', '/api?/api/v1', '/API/', '/api/v1x', '/api//v1'])
    expect(await at(path)).toBe('v2');
  for (const path of ['/api/v1', '/api/V1/x?y', '/api/v1/../..', `/api/v1/${'x'.repeat(8000)}`])
    expect(await at(path)).toBe('v3');
  expect(await servedBy(rig.port, 'only.test')).toBe('404');
  expect(await servedBy(rig.port, 'only.test', '/api/x')).toBe('v2');
  const seen = await ask({ port: rig.port, host: 'www.test', path: '/API/a/../b?c' });
  expect(JSON.parse(seen.body)).toMatchObject({ path: '/API/a/../b?c' });

  const load = startLoad(rig.port, 'www.test');
  await rig.router.apply(routes.slice(0, 2));
  expect(await at('/api/v1')).toBe('v2');
  await rig.router.apply(routes.slice(0, 1));
  expect(await at('/api/v1')).toBe('v1');
  await rig.router.apply(routes);
  expect(await at('/api/v1')).toBe('v3');
  await rig.replaceController();
  await rig.router.apply(routes);
  expect(await at('/api/v1')).toBe('v3');
  await load.stop();
  expect(load.failures).toEqual([]);
});

test('apps are told who asked, and not what visitors claim', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  const answer = await ask({
    port: rig.port,
    host: 'blog.test',
    headers: {
      'x-forwarded-for': '6.6.6.6',
      'X-Forwarded-Proto': 'https',
      'x-forwarded-host': 'evil.test',
      'x-forwarded-prefix': '/evil',
      forwarded: 'for=6.6.6.6',
      'x-real-ip': '6.6.6.6',
    },
  });
  const { headers } = JSON.parse(answer.body);
  expect(headers).toEqual({
    host: 'blog.test',
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-proto': 'http',
    'x-forwarded-host': 'blog.test',
  });
});

test('an unknown host name gets a page that says so and repeats nothing', async () => {
  await using rig = await RouterRig.start();
  const host = 'nobody.test';
  const plain = await ask({ port: rig.port, host });
  expect(plain).toMatchObject({ status: 404, headers: { 'content-type': 'text/plain; charset=utf-8' } });
  expect(plain.body).toContain('No app answers on this host name');
  const html = await ask({ port: rig.port, host, headers: { accept: 'text/html,*/*' } });
  expect(html).toMatchObject({ status: 404, headers: { 'content-type': 'text/html; charset=utf-8' } });
  expect(html.body).toContain('<h1>No app answers on this host name</h1>');
  expect(plain.body + html.body).not.toContain('nobody');
});

test('an app without a live release gets the starting page, and so does one whose container died', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  await rig.router.apply([route('empty', []), route('blog', [v1.endpoint])]);
  const empty = await ask({ port: rig.port, host: 'empty.test', headers: { accept: 'text/html' } });
  expect(empty).toMatchObject({ status: 503, headers: { 'retry-after': '5', 'cache-control': 'no-store' } });
  expect(empty.body).toContain('has no live release');
  v1.kill();
  const dead = await ask({ port: rig.port, host: 'blog.test' });
  expect(dead.status).toBe(503);
  expect(dead.body).toContain('has no live release');
});

test('WebSockets pass, and stay on the old container until its drain ends', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  using v2 = await Upstream.start('v2');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  const socket = new WebSocket(`ws://127.0.0.1:${rig.port}/`, { headers: { host: 'blog.test' } });
  expect(await echo(socket, 'one')).toBe('v1 one');
  await rig.router.apply([route('blog', [v2.endpoint], [v1.endpoint])]);
  expect(await echo(socket, 'two')).toBe('v1 two');
  expect(await servedBy(rig.port, 'blog.test')).toBe('v2');
  const closed = new Promise((resolve) => socket.once('close', resolve));
  expect(await rig.drain('blog', v1.endpoint, 300)).toBe('cut');
  await closed;
});

test('server-sent events pass as they come, also after a silence', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  const { body } = await ask({ port: rig.port, host: 'blog.test', path: '/events?ms=1500' });
  expect(body).toBe('data: first\n\ndata: second\n\n');
});

test('twenty swaps under load lose no request, and no long answer or WebSocket of another app', async () => {
  await using rig = await RouterRig.start();
  using other = await Upstream.start('other');
  let live = await Upstream.start('v1');
  await rig.router.apply([route('blog', [live.endpoint]), route('chat', [other.endpoint])]);
  const socket = new WebSocket(`ws://127.0.0.1:${rig.port}/`, { headers: { host: 'chat.test' } });
  expect(await echo(socket, 'before')).toBe('other before');
  const slow = ask({ port: rig.port, host: 'blog.test', path: '/slow?ms=3000' });
  await eventually(
    () => live.requests,
    (count) => count > 0,
  );
  const load = startLoad(rig.port, 'blog.test');
  for (let version = 2; version <= 21; version++) {
    const next = await Upstream.start(`v${version}`);
    await rig.router.apply([
      route('blog', [next.endpoint], [live.endpoint]),
      route('chat', [other.endpoint]),
    ]);
    expect(await rig.drain('blog', live.endpoint)).toBe('idle');
    live.kill();
    live = next;
    await eventually(
      () => next.requests,
      (count) => count > 20,
    );
  }
  await load.stop();
  live.kill();
  expect((await slow).body).toBe('slow');
  expect(load.failures).toEqual([]);
  expect(load.ok).toBeGreaterThan(500);
  expect(await echo(socket, 'after')).toBe('other after');
  socket.terminate();
});

test('swaps without a reload leave the worker alone', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  using v2 = await Upstream.start('v2');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  const worker = await rig.runtime.workerPid();
  await rig.router.apply([route('blog', [v2.endpoint], [v1.endpoint])]);
  expect(await servedBy(rig.port, 'blog.test')).toBe('v2');
  expect(await rig.runtime.workerPid()).toBe(worker);
});

test('the same routes again change nothing', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  const routes = [route('blog', [v1.endpoint]), route('empty', [])];
  await rig.router.apply(routes);
  const before = { config: await rig.config(), worker: await rig.runtime.workerPid() };
  await rig.router.apply(routes);
  expect({ config: await rig.config(), worker: await rig.runtime.workerPid() }).toEqual(before);
});

test('two hundred apps at once are one reload', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  const names = Array.from({ length: 200 }, (_, index) => `app-${index}`);
  await rig.router.apply(names.map((name) => route(name, [v1.endpoint])));
  for (const name of ['app-0', 'app-99', 'app-199'])
    expect(await servedBy(rig.port, `${name}.test`)).toBe('v1');
  expect(await reloads(rig)).toBe(1);
});

test('apps that come one by one while a reload runs share the next one', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  const names = Array.from({ length: 10 }, (_, index) => `app-${index}`);
  await Promise.all(
    names.map((_, index) =>
      rig.router.apply(names.slice(0, index + 1).map((name) => route(name, [v1.endpoint]))),
    ),
  );
  expect(await servedBy(rig.port, 'app-9.test')).toBe('v1');
  expect(await reloads(rig)).toBe(1);
});

test('a host name moves to another app, a new one is added and an old one goes, without a reload', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  using v2 = await Upstream.start('v2');
  const blog = route('blog', [v1.endpoint]);
  const shop = route('shop', [v2.endpoint]);
  await rig.router.apply([{ ...blog, hosts: ['blog.test', 'www.test'] }, shop]);
  const worker = await rig.runtime.workerPid();
  await rig.router.apply([
    { ...blog, hosts: ['new.test'] },
    { ...shop, hosts: ['shop.test', 'www.test'] },
  ]);
  expect(await servedBy(rig.port, 'www.test')).toBe('v2');
  expect(await servedBy(rig.port, 'new.test')).toBe('v1');
  expect(await servedBy(rig.port, 'blog.test')).toBe('404');
  expect(await rig.runtime.workerPid()).toBe(worker);
});

test('a removed app is a 404 at once, its last answer is finished, and its backend goes with the next reload', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  await rig.router.apply([route('blog', [v1.endpoint]), route('shop', [])]);
  const slow = ask({ port: rig.port, host: 'blog.test', path: '/slow?ms=700' });
  await eventually(
    () => v1.requests,
    (count) => count > 0,
  );
  await rig.router.apply([route('shop', [])]);
  expect(await servedBy(rig.port, 'blog.test')).toBe('404');
  expect((await slow).body).toBe('slow');
  await eventually(
    () => rig.config(),
    (config) => !config.includes(String(v1.endpoint.port)),
  );
  await rig.router.apply([route('shop', []), route('third', [])]);
  expect(await rig.config()).not.toContain('app_blog');
});

test('three swaps faster than their drains lose nothing: slots are added', async () => {
  await using rig = await RouterRig.start();
  const versions: Upstream[] = [];
  const slow: Promise<unknown>[] = [];
  for (let version = 1; version <= 6; version++) {
    const next = await Upstream.start(`v${version}`);
    versions.push(next);
    await rig.router.apply([route('blog', [next.endpoint])]);
    slow.push(
      ask({ port: rig.port, host: 'blog.test', path: '/slow?ms=1500' }).then((answer) => answer.body),
    );
    await eventually(
      () => next.requests,
      (count) => count > 0,
    );
    expect(await servedBy(rig.port, 'blog.test')).toBe(`v${version}`);
  }
  expect(await rig.config()).toMatch(/ {2}server s5 /);
  expect(await Promise.all(slow)).toEqual(versions.map(() => 'slow'));
  // Nobody waits for these drains, and still their slots become free.
  await eventually(
    () => rig.config(),
    (config) => config.match(/ disabled$/gm)?.length === free(config),
  );
  for (const version of versions) version.kill();
});

test('a drain that is given up leaves the slot draining, and another one finishes it', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  using v2 = await Upstream.start('v2');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  const slow = ask({ port: rig.port, host: 'blog.test', path: '/slow?ms=800' });
  await eventually(
    () => v1.requests,
    (count) => count > 0,
  );
  await rig.router.apply([route('blog', [v2.endpoint], [v1.endpoint])]);
  const giveUp = new AbortController();
  const drained = rig.router.drain(app('blog'), v1.endpoint, 20_000, giveUp.signal);
  giveUp.abort(new Error('changed my mind'));
  await expect(drained).rejects.toThrow('changed my mind');
  expect(await rig.drain('blog', v1.endpoint)).toBe('idle');
  expect((await slow).body).toBe('slow');
  expect(await rig.drain('blog', v1.endpoint)).toBe('idle');
});

test('a container that comes back while it drains keeps its slot', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  using v2 = await Upstream.start('v2');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  const slow = ask({ port: rig.port, host: 'blog.test', path: '/slow?ms=500' });
  await eventually(
    () => v1.requests,
    (count) => count > 0,
  );
  await rig.router.apply([route('blog', [v2.endpoint], [v1.endpoint])]);
  const drained = rig.drain('blog', v1.endpoint);
  const failure = drained.then(String, messageOf);
  await rig.router.apply([route('blog', [v1.endpoint], [v2.endpoint])]);
  expect(await failure).toMatch(/live/);
  expect(await servedBy(rig.port, 'blog.test')).toBe('v1');
  expect((await slow).body).toBe('slow');
  expect(await rig.drain('blog', v2.endpoint)).toBe('idle');
});

test.each(['in the same worker', 'in an older worker'])(
  'the drain limit cuts what is in flight %s',
  async (where) => {
    await using rig = await RouterRig.start();
    using v1 = await Upstream.start('v1');
    using v2 = await Upstream.start('v2');
    await rig.router.apply([route('blog', [v1.endpoint])]);
    const broken = ask({ port: rig.port, host: 'blog.test', path: '/slow?ms=60000', body: 'x' });
    const streaming = ask({ port: rig.port, host: 'blog.test', path: '/events?ms=60000' }).then(
      String,
      messageOf,
    );
    await eventually(
      () => v1.requests,
      (count) => count === 2,
    );
    const another = where === 'in an older worker' ? [route('another', [])] : [];
    await rig.router.apply([route('blog', [v2.endpoint], [v1.endpoint]), ...another]);
    expect(await rig.drain('blog', v1.endpoint, 200)).toBe('cut');
    expect((await broken).status).toBe(502);
    expect(await streaming).toMatch(/aborted|hang up/);
  },
);

test.each([
  ['the new container when it is in the same worker', [], 'v2'],
  ['nobody when it is in an older worker', [route('another', [])], '502'],
])('at the drain limit a GET without an answer goes to %s', async (_, others, expected) => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  using v2 = await Upstream.start('v2');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  const answer = ask({ port: rig.port, host: 'blog.test', path: '/slow?ms=2500' });
  await eventually(
    () => v1.requests,
    (count) => count > 0,
  );
  await rig.router.apply([route('blog', [v2.endpoint], [v1.endpoint]), ...others]);
  expect(await rig.drain('blog', v1.endpoint, 200)).toBe('cut');
  const dialled = v1.requests;
  const { status, headers } = await answer;
  expect(headers['x-served-by'] ?? String(status)).toBe(expected);
  expect(v1.requests).toBe(dialled);
});

function echo(socket: WebSocket, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('message', (answer: Buffer) => resolve(answer.toString()));
    if (socket.readyState === WebSocket.OPEN) socket.send(text);
    else socket.once('open', () => socket.send(text));
  });
}

function free(config: string): number {
  return config.match(/ 127\.0\.0\.1:1 disabled$/gm)?.length ?? 0;
}

/** How often the process has been told to read its configuration again. */
async function reloads(rig: RouterRig): Promise<number> {
  return (await rig.runtime.processes()).reloads;
}
