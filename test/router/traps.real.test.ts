import { Agent } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { messageOf } from '../../src/errors.ts';
import { ask, StubbornClient, servedBy } from './support/client.ts';
import { type Change, RawHaproxy, slotFor, without } from './support/raw-haproxy.ts';
import { eventually, pidsOf, RouterRig, route } from './support/rig.ts';
import { Upstream } from './support/upstream.ts';

// The traps of driving HAProxy, each with its cure and, where that is cheap, without: the test is known to bite.

const asIs: Change = (config) => config;
const free = { use: 'free' } as const;

test.each([
  ['with the hand-off, idle clients of an old worker reach the new container', asIs, 'v2'],
  ['without it they reach the old one, which is gone', withoutHandoff, '503'],
])('trap 1: %s', async (_, change, expected) => {
  using v1 = await Upstream.start('v1');
  using v2 = await Upstream.start('v2');
  await using haproxy = await RawHaproxy.start([slotFor(v1), free], change);
  const clients = await Promise.all(Array.from({ length: 10 }, () => StubbornClient.connect(haproxy.port)));
  const everybody = () => Promise.all(clients.map((client) => client.get('blog.test')));
  expect(await everybody()).toEqual(clients.map(() => 'v1'));
  await haproxy.reload([slotFor(v1), free]);
  await haproxy.runtime.point({ app: 'blog', index: 1 }, v2.endpoint);
  await haproxy.runtime.setState({ app: 'blog', index: 1 }, 'ready');
  await haproxy.runtime.setState({ app: 'blog', index: 0 }, 'maint');
  v1.kill();
  expect(await everybody()).toEqual(clients.map(() => expected));
  for (const client of clients) client[Symbol.dispose]();
});

/** And with one retry, not to wait fifteen seconds for the refusal. */
function withoutHandoff(config: string): string {
  return without(/if \{ stopping \}/)(config).replace('retries 15', 'retries 1');
}

test.each([
  ['with idle-close-on-response a reload leaves idle clients alone', asIs, 'v1'],
  ['without it they are cut off', without(/idle-close-on-response/), 'closed'],
])('trap 1: %s', async (_, change, expected) => {
  using v1 = await Upstream.start('v1');
  await using haproxy = await RawHaproxy.start([slotFor(v1)], change);
  const clients = await Promise.all(Array.from({ length: 10 }, () => StubbornClient.connect(haproxy.port)));
  const everybody = () => Promise.all(clients.map((client) => client.get('blog.test')));
  await everybody();
  await haproxy.reload([slotFor(v1)]);
  expect(await everybody()).toEqual(clients.map(() => expected));
  for (const client of clients) client[Symbol.dispose]();
});

test('trap 1: idle clients of many reloads and swaps always reach the live container', async () => {
  await using rig = await RouterRig.start();
  let live = await Upstream.start('v0');
  await rig.router.apply([route('blog', [live.endpoint])]);
  const clients: StubbornClient[] = [];
  for (let round = 1; round <= 5; round++) {
    const others = Array.from({ length: round }, (_, index) => route(`other-${index}`, []));
    const client = await StubbornClient.connect(rig.port);
    clients.push(client);
    expect(await client.get('blog.test')).toBe(live.id);
    await rig.router.apply([route('blog', [live.endpoint]), ...others]);
    const next = await Upstream.start(`v${round}`);
    await rig.router.apply([route('blog', [next.endpoint], [live.endpoint]), ...others]);
    expect(await rig.drain('blog', live.endpoint)).toBe('idle');
    live.kill();
    live = next;
  }
  for (const client of clients) expect(await client.get('blog.test')).toBe('v5');
  for (const client of clients) client[Symbol.dispose]();
  live.kill();
});

test('trap 2: a draining container gets nothing new after a reload', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  using v2 = await Upstream.start('v2');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  const slow = ask({ port: rig.port, host: 'blog.test', path: '/slow?ms=1200' });
  await eventually(
    () => v1.requests,
    (count) => count > 0,
  );
  await rig.router.apply([route('blog', [v2.endpoint], [v1.endpoint])]);
  await rig.router.apply([route('blog', [v2.endpoint], [v1.endpoint]), route('another', [])]);
  const answers = await Promise.all(Array.from({ length: 20 }, () => servedBy(rig.port, 'blog.test')));
  expect(new Set(answers)).toEqual(new Set(['v2']));
  expect(await rig.drain('blog', v1.endpoint)).toBe('idle');
  expect((await slow).body).toBe('slow');
});

test('trap 2: it would, were it not written as disabled', async () => {
  using v1 = await Upstream.start('v1');
  using v2 = await Upstream.start('v2');
  await using haproxy = await RawHaproxy.start([slotFor(v1), slotFor(v2)], (config) =>
    config.replaceAll(' disabled', ''),
  );
  await haproxy.runtime.setState({ app: 'blog', index: 0 }, 'drain');
  await haproxy.reload([slotFor(v1, 'draining'), slotFor(v2)]);
  const answers = await Promise.all(Array.from({ length: 20 }, () => servedBy(haproxy.port, 'blog.test')));
  expect(new Set(answers)).toEqual(new Set(['v1', 'v2']));
});

test('trap 3: a drain does not end early while one reload follows the other', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  using v2 = await Upstream.start('v2');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  let answered = false;
  const slow = ask({ port: rig.port, host: 'blog.test', path: '/slow?ms=2500' })
    .then(({ body }) => body, String)
    .finally(() => {
      answered = true;
    });
  await eventually(
    () => v1.requests,
    (count) => count > 0,
  );
  const swapped = route('blog', [v2.endpoint], [v1.endpoint]);
  await rig.router.apply([swapped]);
  const drained = rig.drain('blog', v1.endpoint).then((result) => ({ result, answered }));
  for (let count = 1; !answered; count++) {
    await rig.router.apply([
      swapped,
      ...Array.from({ length: count }, (_, index) => route(`other-${index}`, [])),
    ]);
  }
  expect(await drained).toEqual({ result: 'idle', answered: true });
  expect(await slow).toBe('slow');
});

test('trap 3: no row of reloads cuts what is in flight', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  const routes = [route('blog', [v1.endpoint])];
  await rig.router.apply(routes);
  let answered = false;
  // HAProxy alone would cut it after 20 reloads, which are over within three seconds.
  const slow = ask({ port: rig.port, host: 'blog.test', path: '/slow?ms=8000' })
    .then(({ body }) => body, String)
    .finally(() => {
      answered = true;
    });
  await eventually(
    () => v1.requests,
    (requests) => requests > 0,
  );
  while (!answered) {
    routes.push(route(`other-${routes.length}`, []));
    await rig.router.apply(routes);
  }
  expect(await slow).toBe('slow');
});

test('trap 3: no answer about what is in flight is not "nothing"', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  using v2 = await Upstream.start('v2');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  await rig.router.apply([route('blog', [v2.endpoint], [v1.endpoint])]);
  const { master } = await rig.runtime.processes();
  process.kill(master, 'SIGSTOP');
  let ended = false;
  const drained = rig.drain('blog', v1.endpoint).finally(() => {
    ended = true;
  });
  await sleep(500);
  expect(ended).toBe(false);
  process.kill(master, 'SIGCONT');
  expect(await drained).toBe('idle');
});

test('trap 4: a port that is taken is a clear error, and nothing is left running', async () => {
  await using rig = await RouterRig.start();
  const taken = createTcpServer();
  await new Promise<void>((resolve) => taken.listen(0, resolve));
  const { port } = taken.address() as AddressInfo;
  await rig.router.stop();
  await expect(rig.replaceController({ httpPort: port })).rejects.toThrow(
    new RegExp(
      `^port ${port} is taken by another program; stop it .* or set GANTRY_HTTP_PORT to another one$`,
    ),
  );
  expect(await pidsOf(rig.dir, 'sh')).toEqual([]);
  taken.close();
});

test('trap 4: moving to a taken port is refused without an interruption, and to a free one done', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  const taken = createTcpServer();
  await new Promise<void>((resolve) => taken.listen(0, resolve));
  const { port } = taken.address() as AddressInfo;
  const watched = watch(rig.port);
  await expect(rig.replaceController({ httpPort: port })).rejects.toThrow(`port ${port} is taken`);
  expect(await watched.stop()).toEqual([]);
  await new Promise((resolve) => taken.close(resolve));
  await rig.replaceController({ httpPort: port });
  expect(await servedBy(port, 'blog.test')).toBe('v1');
});

test('trap 4: HAProxy itself would stop all traffic to find out', async () => {
  using v1 = await Upstream.start('v1');
  await using haproxy = await RawHaproxy.start([slotFor(v1)]);
  const taken = createTcpServer();
  await new Promise<void>((resolve) => taken.listen(0, resolve));
  const watched = watch(haproxy.port);
  await haproxy.write([slotFor(v1)], (taken.address() as AddressInfo).port);
  await expect(haproxy.process.reload()).rejects.toThrow(
    /did not take over the new configuration: .*[Cc]annot bind/,
  );
  const failures = await watched.stop();
  expect(failures.length).toBeGreaterThan(0);
  expect(
    await eventually(
      () => servedBy(haproxy.port, 'blog.test'),
      (answer) => answer === 'v1',
    ),
  ).toBe('v1');
  taken.close();
});

test('trap 5: connections to a container are used again', async () => {
  await using rig = await RouterRig.start();
  using v1 = await Upstream.start('v1');
  using v2 = await Upstream.start('v2');
  await rig.router.apply([route('blog', [v1.endpoint])]);
  // A slot filled at run time, as every one after the first is.
  await rig.router.apply([route('blog', [v2.endpoint], [v1.endpoint])]);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  for (let count = 0; count < 50; count++) await ask({ port: rig.port, host: 'blog.test', agent });
  agent.destroy();
  expect(v2.requests).toBe(50);
  expect(v2.connections.size).toBeLessThan(5);
});

test.each([
  ['with retry-on a GET is tried again', asIs, 0],
  ['without it GETs are lost', without(/retry-on/), 10],
])('trap 6: when an app drops an idle connection just as a request arrives, %s', async (_, change, lost) => {
  await using dropping = await DroppingApp.start();
  await using haproxy = await RawHaproxy.start(
    [{ use: 'live', address: '127.0.0.1', port: dropping.port }],
    change,
  );
  expect(await lostOf(haproxy.port, {})).toBe(lost);
});

test('trap 6: a POST is never sent twice', async () => {
  await using dropping = await DroppingApp.start();
  await using haproxy = await RawHaproxy.start([{ use: 'live', address: '127.0.0.1', port: dropping.port }]);
  expect(await lostOf(haproxy.port, { body: 'x' })).toBe(10);
  expect(dropping.received).toEqual(new Set(dropping.all));
  expect(dropping.all).toHaveLength(20);
});

/** Ten times: one request that opens a connection to the app and one on the same connection. */
async function lostOf(port: number, options: { body?: string }): Promise<number> {
  let lost = 0;
  for (let round = 0; round < 10; round++) {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (const half of ['first', 'second']) {
      const asked = ask({ port, host: 'blog.test', path: `/${round}-${half}`, agent, ...options });
      const status = await asked.then((answer) => answer.status, messageOf);
      if (status !== 200) lost += 1;
    }
    agent.destroy();
  }
  return lost;
}

/** Answers the first request of a connection and drops the connection at the second. */
class DroppingApp {
  readonly port: number;
  readonly all: string[] = [];
  readonly #server;

  private constructor(server: ReturnType<typeof createTcpServer>) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (socket) => {
      let requests = 0;
      socket.on('error', () => undefined);
      socket.on('data', (chunk) => {
        requests += 1;
        this.all.push(chunk.toString().split(' ')[1] ?? '');
        if (requests === 2) socket.destroy();
        else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      });
    });
  }

  get received(): Set<string> {
    return new Set(this.all);
  }

  static async start(): Promise<DroppingApp> {
    const server = createTcpServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new DroppingApp(server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
  }
}

/** Asks on new connections all the time and keeps what went wrong. */
function watch(port: number): { stop(): Promise<string[]> } {
  let stopping = false;
  const failures: string[] = [];
  const asking = (async () => {
    while (!stopping) {
      await ask({ port, host: 'blog.test' }).catch((error: unknown) => failures.push(messageOf(error)));
      await sleep(5);
    }
  })();
  return {
    async stop() {
      stopping = true;
      await asking;
      return failures;
    },
  };
}
