import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { appRepository, Rig, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({
    GANTRY_HEALTH_TIMEOUT: '20',
    GANTRY_STOP_TIMEOUT: '2',
    GANTRY_DRAIN_TIMEOUT: '120',
  });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

/** Its version on port 8080, its name on 9090 and what it is told on UDP port 9000. */
const backend = (version: string) => ({
  version,
  Dockerfile: `FROM gantry-test/node:1
COPY version server.js /
CMD ["/usr/local/bin/node", "/server.js"]
`,
  'server.js': `
const version = require('node:fs').readFileSync('/version', 'utf8');
require('node:http').createServer((_, response) => response.end(version)).listen(8080);
require('node:net').createServer((socket) => socket.on('error', () => {}).end('backend')).listen(9090);
const udp = require('node:dgram').createSocket('udp4').bind(9000);
udp.on('message', (message, from) => udp.send(message, from.port, from.address));
process.on('SIGTERM', () => process.exit(0));
`,
});

async function containersOf(app: string) {
  const label = [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`];
  return localDocker().listContainers({ filters: { label } });
}

async function addressOf(app: string): Promise<string> {
  const [container] = await containersOf(app);
  return Object.values(container?.NetworkSettings.Networks ?? {})[0]?.IPAddress ?? '';
}

/** Runs a shell script in the container of an app; all it printed, and how it ended. */
async function inside(app: string, script: string): Promise<string> {
  const [container] = await containersOf(app);
  const exec = await localDocker()
    .getContainer(container?.Id ?? '')
    .exec({ Cmd: ['sh', '-c', script], AttachStdout: true, AttachStderr: true, Tty: true });
  const stream = await exec.start({ Tty: true });
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  const { ExitCode } = await exec.inspect();
  return `${Buffer.concat(chunks).toString().trim()} (${ExitCode})`.trim();
}

/** What is there, or `blocked`. */
async function get(app: string, url: string): Promise<string> {
  const said = await inside(app, `timeout 2 wget -q -O - ${url} 2>/dev/null`);
  return said.endsWith(' (0)') ? said.slice(0, -4) : 'blocked';
}

async function deployed(app: string, files: Parameters<typeof appRepository>[1], fixture = 'page') {
  const repo = await appRepository(fixture, files);
  expect(await repo.push(await rig.pushUrl(app))).toMatchObject({ code: 0 });
  return repo;
}

async function gantry(...args: string[]): Promise<void> {
  expect({ args, ...(await rig.gantry(...args)) }).toMatchObject({ args, code: 0 });
}

async function gates(): Promise<string[]> {
  const label = [`gantry.store=${await rig.storeId}`, 'gantry.gate'];
  const found = await localDocker().listContainers({ all: true, filters: { label } });
  return found.map(({ Labels }) => Labels['gantry.gate'] ?? '');
}

test('an internal route is open to those alone that a policy names, on its ports, from now on and no longer than it', async () => {
  await using _front = await deployed('front', { version: 'front' }, 'web');
  await using _other = await deployed('other', { version: 'other' });
  await using _store = await deployed('store', backend('v1'));
  const address = await addressOf('store');
  const url = 'http://store.internal:8080/';
  const udp = () =>
    inside(
      'front',
      `/usr/local/bin/node -e '
      const socket = require("node:dgram").createSocket("udp4");
      socket.on("message", (text) => { console.log(String(text)); socket.close(); });
      socket.send("hello", 9000, "store.internal");
      setTimeout(() => process.exit(1), 1000).unref();'`,
    );

  expect(await get('front', url)).toBe('blocked');
  await gantry('domains', 'add', 'store.internal', '--app', 'store');
  expect(await get('front', url)).toBe('blocked');
  expect((await rig.requestHost('store.internal')).status).toBe(404);

  const added = await rig.gantry('network-policy', 'add', 'front', 'store');
  expect(added.stderr).toBe('front reaches store at its internal host names, tcp 8080\n');
  await until('it is open', async () => (await get('front', url)) === 'v1');
  // Another app, another port, another protocol, the other way, and every address of its own.
  expect(await get('other', url)).toBe('blocked');
  expect(await get('front', 'http://store.internal:9090/')).toBe('blocked');
  expect(await udp()).not.toContain('hello');
  for (const [from, to] of [
    ['front', 'store'],
    ['other', 'store'],
    ['store', 'front'],
  ] as const)
    expect(await get(from, `http://${await addressOf(to)}:8080/`)).toBe('blocked');

  const task = await rig.gantry('run', 'front', '--', 'wget', '-q', '-O', '-', url);
  expect(task).toMatchObject({ code: 0, stdout: 'v1\n' });

  await gantry('network-policy', 'add', 'front', 'store', '--port', '9089-9091');
  await gantry('network-policy', 'add', 'front', 'store', '--port', '9000', '--protocol', 'udp');
  await until('another port is open', async () =>
    (await inside('front', 'timeout 3 nc store.internal 9090 </dev/null')).startsWith('backend'),
  );
  await until('UDP is open', async () => (await udp()).startsWith('hello'));
  const list = await rig.gantry('network-policies');
  expect(list.stdout).toBe(
    'SOURCE  DESTINATION  PROTOCOL  PORTS\nfront   store        tcp       8080\nfront   store        tcp       9089-9091\nfront   store        udp       9000\n',
  );

  // What is open is cut.
  const open = inside(
    'front',
    `/usr/local/bin/node -e '
    const socket = require("node:net").connect(8080, "store.internal");
    socket.on("connect", () => require("node:fs").writeFileSync("/tmp/open", ""));
    socket.on("error", () => {}).on("close", () => { console.log("cut"); process.exit(); });
    setTimeout(() => process.exit(1), 20000);'`,
  );
  await until('it is open', async () => (await inside('front', 'test -e /tmp/open')) === '(0)');
  await gantry('network-policy', 'remove', 'front', 'store');
  await until('it is closed', async () => (await get('front', url)) === 'blocked');
  expect(await open).toBe('cut (0)');
  expect(await inside('front', 'timeout 3 nc store.internal 9090 </dev/null')).toContain('backend');
  await gantry('network-policy', 'remove', 'front', 'store', '--port', '9089-9091');
  await gantry('network-policy', 'remove', 'front', 'store', '--port', '9000', '--protocol', 'udp');
  await until('nothing is left', async () => (await gates()).length === 0);
  expect(await addressOf('store')).toBe(address);
});

test('a swap of the destination fails no request, and only the live release answers; restarts change nothing', async () => {
  await using _caller = await deployed('caller', { version: 'caller' });
  await using repo = await deployed('callee', backend('v1'));
  await gantry('domains', 'add', 'callee.apps.internal', '--app', 'callee');
  await gantry('network-policy', 'add', 'caller', 'callee');
  const url = 'http://callee.apps.internal:8080/';
  await until('it is open', async () => (await get('caller', url)) === 'v1');

  const load = inside(
    'caller',
    `while [ ! -e /tmp/stop ]; do timeout 8 wget -q -O - ${url} || echo failed; echo; done`,
  );
  // Open before the swap, and used after it.
  const slow = inside(
    'caller',
    `(while [ ! -e /tmp/go ]; do sleep 0.1; done; printf 'GET / HTTP/1.0\\r\\n\\r\\n') | nc callee.apps.internal 8080`,
  );
  for (const version of ['v2', 'v3']) {
    await repo.commit(backend(version));
    expect(await repo.push(await rig.pushUrl('callee'))).toMatchObject({ code: 0 });
    expect(await get('caller', url)).toBe(version);
  }
  await inside('caller', 'touch /tmp/go');
  expect(await slow).toMatch(/v1 \(0\)$/);
  await gantry('scale', '--app', 'callee', '--instances', '2');
  expect(await repo.push(`${await rig.pushUrl('callee')}`, 'main:redeploy')).toMatchObject({ code: 0 });
  await inside('caller', 'touch /tmp/stop');
  const seen = (await load).split(/\s+/);
  expect(seen.filter((word) => !/^(v[123]|\(0\))$/.test(word))).toEqual([]);
  expect(new Set(seen)).toEqual(new Set(['v1', 'v2', 'v3', '(0)']));

  await until('only what serves is left', async () => (await containersOf('callee')).length === 2);
  await rig.crash();
  expect(await get('caller', url)).toBe('v3');
  await rig.start();
  const [gate] = await localDocker().listContainers({
    filters: { label: ['gantry.gate=callee.apps.internal'] },
  });
  await localDocker()
    .getContainer(gate?.Id ?? '')
    .kill();
  await until('it is open again', async () => (await get('caller', url)) === 'v3');

  await gantry('stop', 'callee');
  expect(await get('caller', url)).toBe('blocked');
  await gantry('start', 'callee');
  await until('it is open again', async () => (await get('caller', url)) === 'v3');
});

test('a policy is made by those who may deploy both apps, and goes with either of them', async () => {
  await using _a = await deployed('first', { version: 'first' });
  await using _b = await deployed('second', { version: 'second' });
  await gantry('domains', 'add', 'second.internal', '--app', 'second');
  const one = await rig.createToken('one', ['deploy:first' as 'admin', 'read:second' as 'admin']);
  const both = await rig.createToken('both', ['deploy:first' as 'admin', 'deploy:second' as 'admin']);
  const add = (token: string, ...args: string[]) =>
    rig.gantryIn({ GANTRY_TOKEN: token }, 'network-policy', 'add', ...args);
  for (const [args, reason] of [
    [['first', 'second'], /this token may only read second/],
    [['first', 'nobody'], /app "nobody" not found or not yours/],
    [['first', 'first'], /between two apps/],
    [['first', 'second', '--port', '0'], /between 1 and 65535/],
    [['first', 'second', '--port', '1-2000'], /at most 1000 ports/],
    [['first', 'second', '--port', 'http'], /ports are a number/],
  ] as const) {
    const refused = await add(one, ...args);
    expect(refused.stderr).toMatch(reason);
    expect(refused.code).not.toBe(0);
  }
  expect(await add(both, 'first', 'second')).toMatchObject({ code: 0 });
  await until('it is open', async () => (await get('first', 'http://second.internal:8080/')) === 'second');

  await gantry('apps', 'delete', 'first', '--confirm', 'first');
  expect((await rig.gantry('network-policies')).stdout).not.toContain('first');
  await until('the gate is gone', async () => (await gates()).every((name) => name !== 'second.internal'));
  await gantry('apps', 'delete', 'second', '--confirm', 'second');
  const label = [`gantry.store=${await rig.storeId}`, 'gantry.app=second'];
  expect(await localDocker().listNetworks({ filters: { label } })).toEqual([]);
});
