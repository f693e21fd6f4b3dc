import { connect, createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { appRepository, freePort, Rig, until } from '../support/rig.ts';

let rig: Rig;
let from: number;
beforeAll(async () => {
  from = await freePort();
  rig = await Rig.start({
    GANTRY_HEALTH_TIMEOUT: '6',
    GANTRY_DRAIN_TIMEOUT: '4',
    GANTRY_TCP_PORTS: `${from}-${from + 5}`,
  });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

/** Says its version and then echoes; speaks no HTTP. */
const echo = (port = 'process.env.CC_DOCKER_EXPOSED_TCP_PORT || 4040'): string =>
  `process.on('SIGTERM', () => process.exit(0));
  const version = require('node:fs').readFileSync('/app/version', 'utf8').trim();
  require('node:net').createServer((socket) => {
    socket.on('error', () => {});
    socket.write(version + '\\n');
    socket.pipe(socket);
  }).listen(${port}, '0.0.0.0');`;

/** The first line somebody behind the port says. */
function greeting(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.setTimeout(5000, () => socket.destroy(new Error('silence')));
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
      if (!text.includes('\n')) return;
      resolve(text.trim());
      socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed without a word')));
  });
}

async function enable(app: string): Promise<number> {
  const answer = await rig.gantry('tcp', 'enable', '--app', app, '--json');
  return (JSON.parse(answer.stdout) as { port: number }).port;
}

/** Connects anew again and again; what failed is in `failures`. */
class Callers {
  readonly failures: string[] = [];
  calls = 0;
  #done = false;
  readonly #calling: Promise<unknown>;

  constructor(port: number) {
    this.#calling = Promise.all([1, 2, 3].map(() => this.#call(port)));
  }

  async #call(port: number): Promise<void> {
    while (!this.#done) {
      this.calls += 1;
      await greeting(port).catch((error: Error) => this.failures.push(error.message));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async leave(): Promise<void> {
    this.#done = true;
    await this.#calling;
  }
}

describe('a TCP service', () => {
  test('has one public port over all deployments; no new connection fails in a swap, and an open one goes on', async () => {
    await using repo = await appRepository('web', { 'server.js': echo() });
    await rig.setEnv('echo', {});
    const port = await enable('echo');
    expect(port).toBe(from);
    const push = await repo.push(await rig.pushUrl('echo'));
    expect(push.stderr).toMatch(/TCP 4040 -> connected after/);
    expect(push.stderr).not.toContain('GET /');
    expect(push.code).toBe(0);
    expect(await greeting(port)).toBe('one');

    const callers = new Callers(port);
    const open = connect({ host: '127.0.0.1', port });
    const heard = await talk(open, 'before the swap');
    expect(heard).toContain('before the swap');
    const deploy = async (version: string): Promise<void> => {
      await repo.commit({ version });
      expect((await repo.push(await rig.pushUrl('echo'))).code).toBe(0);
      expect(await greeting(port)).toBe(version);
    };
    await deploy('v2');
    expect(await talk(open, 'after the swap')).toContain('after the swap');
    for (const version of ['v3', 'v4', 'v5', 'v6']) await deploy(version);
    await callers.leave();
    expect(callers.failures).toEqual([]);
    expect(callers.calls).toBeGreaterThan(100);
    // Its release went long ago, so it was cut when the time for draining was over.
    await until('the old connection is cut', () => open.destroyed || open.readyState === 'closed');

    expect(await enable('echo')).toBe(port);
    const listed = await rig.gantry('tcp', 'list');
    expect(listed.stdout).toMatch(new RegExp(`echo +${port}`));
    expect((await rig.gantry('tcp', 'disable', '--app', 'echo')).code).toBe(0);
    await until('nobody listens any more', async () =>
      greeting(port).then(
        () => false,
        (error: Error) => error.message.includes('ECONNREFUSED'),
      ),
    );
  });

  test('is enabled while the app runs, beside its HTTP, on a port of its own; another program keeps its port', async () => {
    const server = `${echo()}
      require('node:http').createServer((req, res) => res.end('over http')).listen(process.env.PORT);`;
    await using repo = await appRepository('web', { 'server.js': server });
    const blocked = createServer();
    await new Promise<void>((resolve) => blocked.listen(from, '127.0.0.1', resolve));
    try {
      await rig.setEnv('both', { CC_DOCKER_EXPOSED_TCP_PORT: '7000' });
      expect((await repo.push(await rig.pushUrl('both'))).stderr).toMatch(/GET \/ -> 200/);
      const port = await enable('both');
      expect(port).toBe(from + 1);
      await until('it is reached', () => greeting(port).then(Boolean, () => false));
      expect((await rig.request('both')).body).toBe('over http');

      await rig.setEnv('other', {});
      expect(await enable('other')).toBe(from + 2);
    } finally {
      await new Promise((resolve) => blocked.close(resolve));
    }
  });

  test('that nobody takes connections on fails the deployment, and is told where the app listens', async () => {
    await using repo = await appRepository('web', { 'server.js': echo('7777') });
    await rig.setEnv('deaf', {});
    await enable('deaf');
    const push = await repo.push(await rig.pushUrl('deaf'));
    expect(push.stderr).toContain('nothing takes TCP connections on port 4040 of the container');
    expect(push.stderr).toContain('it listens on 0.0.0.0:7777');
    expect(push.code).toBe(1);
  });

  test('outlives a restart of Gantry, and gets no port when the range is used up', async () => {
    await using repo = await appRepository('web', { 'server.js': echo() });
    await rig.setEnv('lasting', {});
    const port = await enable('lasting');
    expect((await repo.push(await rig.pushUrl('lasting'))).code).toBe(0);
    await rig.stop();
    expect(await greeting(port)).toBe('one');
    await rig.start();
    expect(await greeting(port)).toBe('one');

    const names = ['one', 'two', 'three', 'four', 'five', 'six'];
    for (const name of names) await rig.setEnv(name, {});
    const answers = await Promise.all(names.map((name) => rig.gantry('tcp', 'enable', '--app', name)));
    const refused = answers.filter(({ code }) => code !== 0);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]?.stderr).toContain(`no port is left in ${from}-${from + 5}`);
    expect(refused[0]?.stderr).toContain('GANTRY_TCP_PORTS');
  });
});

function talk(socket: Socket, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let heard = '';
    const listen = (chunk: Buffer): void => {
      heard += chunk.toString();
      if (!heard.includes(text)) return;
      socket.off('data', listen);
      resolve(heard);
    };
    socket.on('data', listen);
    socket.once('error', reject);
    socket.write(`${text}\n`);
  });
}
