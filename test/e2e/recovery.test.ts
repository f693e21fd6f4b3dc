import { connect } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { inventory } from '../support/inventory.ts';
import { OwnEngine } from '../support/own-engine.ts';
import { killAll, processesIn } from '../support/processes.ts';
import { appRepository, freePort, Rig } from '../support/rig.ts';

/** P10 and P13: whatever is restarted, apps come back without a human, and how long that takes is said. */
let engine: OwnEngine;
let rig: Rig;
let tcpPort: number;
beforeAll(async () => {
  engine = await OwnEngine.start();
  tcpPort = await freePort();
  await engine.open(tcpPort);
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '10', GANTRY_TCP_PORTS: `${tcpPort}-${tcpPort}` }, engine);
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await engine?.[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

test('apps serve in every way there is', async () => {
  await using front = await appRepository('page', { version: 'front' });
  await rig.setEnv('store', {});
  await rig.gantry('scale', '--instances', '2', '--app', 'store');
  await using store = await appRepository('page', { version: 'store' });
  await rig.setEnv('echo', {});
  await rig.gantry('tcp', 'enable', '--app', 'echo');
  await using echo = await appRepository('web', { 'server.js': echoes });
  for (const [app, repo] of Object.entries({ front, store, echo }))
    expect((await repo.push(await rig.pushUrl(app))).stderr).toContain(`${app} v1 is live`);
  await rig.gantry('domains', 'add', 'store.internal', '--app', 'store');
  await rig.gantry('network-policy', 'add', 'front', 'store');
  await allServe();
});

const echoes = `
process.on('SIGTERM', () => process.exit(0));
require('node:net').createServer((socket) => {
  socket.on('error', () => {});
  socket.end('echo\\n');
}).listen(process.env.CC_DOCKER_EXPOSED_TCP_PORT || 4040, '0.0.0.0');`;

function greeting(): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port: tcpPort });
    let text = '';
    socket.on('data', (chunk) => (text += String(chunk)));
    socket.on('error', () => {});
    socket.on('close', () => resolve(text.trim()));
  });
}

/** What each way in answers: the router, a TCP port, and an internal route from within another app. */
async function answers(): Promise<string[]> {
  const [front, store] = await Promise.all(
    ['front', 'store'].map((app) => rig.request(app).then(({ body }) => body.trim(), String)),
  );
  const ask = 'timeout 1 wget -q -O - http://store.internal:8080/';
  const inside = await rig.gantry('ssh', 'front', '-c', ask);
  return [front ?? '', store ?? '', await greeting(), inside.stdout.trim()];
}

async function allServe(): Promise<void> {
  await expect.poll(answers, { timeout: 60_000 }).toEqual(['front', 'store', 'echo', 'store']);
}

/** Visits an app all the time; what was not answered by it is counted. */
class Visitor {
  failures = 0;
  visits = 0;
  #isOver = false;
  readonly #visiting = (async () => {
    while (!this.#isOver) {
      const { body } = await rig.request('store').catch(() => ({ body: '' }));
      this.visits += 1;
      if (body.trim() !== 'store') this.failures += 1;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();

  async leave(): Promise<void> {
    this.#isOver = true;
    await this.#visiting;
  }
}

/** Everything there is but processes and gates, which are made anew. */
async function lasting(): Promise<string[]> {
  return (await inventory(rig)).filter((line) => !/^process |-gate-/.test(line));
}

test('an instance that is put into its network at another address is dialled there', async () => {
  const label = [`gantry.store=${await rig.storeId}`, 'gantry.app=front'];
  const [container] = await rig.docker.listContainers({ filters: { label } });
  const networks = container?.NetworkSettings.Networks ?? {};
  const [name = ''] = Object.keys(networks);
  const address = (networks[name]?.IPAddress ?? '').replace(/\d+$/, (last) => String(Number(last) + 5));
  const network = rig.docker.getNetwork(name);
  await network.disconnect({ Container: container?.Id ?? '', Force: true });
  await network.connect({
    Container: container?.Id ?? '',
    EndpointConfig: { IPAMConfig: { IPv4Address: address } },
  });
  await allServe();
  const [same] = await rig.docker.listContainers({ filters: { label } });
  expect([same?.Id, same?.NetworkSettings.Networks[name]?.IPAddress]).toEqual([container?.Id, address]);
}, 60_000);

const kinds: Record<string, { limitMs: number; restart: () => Promise<void> }> = {
  'Docker engine, restarted': {
    limitMs: 20_000,
    restart: async () => {
      await engine.stopDaemon();
      await engine.startDaemon();
    },
  },
  'Docker engine, killed': {
    limitMs: 20_000,
    restart: async () => {
      await engine.kill9();
      // Containers live on without it.
      expect((await rig.request('store')).body.trim()).toBe('store');
      await engine.startDaemon();
    },
  },
  'host, power cut': {
    limitMs: 30_000,
    restart: async () => {
      await engine.powerOff();
      await engine.powerOn();
      await Promise.all([engine.startDaemon(), rig.start()]);
    },
  },
  'Redis, killed': {
    limitMs: 5000,
    restart: async () => process.kill(await rig.redisPid(), 'SIGKILL') && undefined,
  },
  'router, killed': {
    limitMs: 5000,
    restart: async () => {
      killAll(await processesIn(`${rig.dataDir}/`, 'haproxy'));
    },
  },
};

test.each(Object.entries(kinds))(
  '%s: every app is back',
  async (kind, { restart, limitMs }) => {
    const before = await lasting();
    const visitor = new Visitor();
    const began = performance.now();
    await restart();
    await allServe();
    const tookMs = performance.now() - began;
    await visitor.leave();
    console.log(
      `recovery: ${kind}: ${(tookMs / 1000).toFixed(1)} s, ${visitor.failures} of ${visitor.visits} visits failed`,
    );
    expect(tookMs).toBeLessThan(limitMs);

    // The very same containers, among others.
    await expect.poll(lasting, { timeout: 20_000 }).toEqual(before);
    await using repo = await appRepository('page', { version: kind });
    expect((await repo.push(await rig.pushUrl(`new-${before.length}`))).stderr).toMatch(/v1 is live/);
  },
  120_000,
);
