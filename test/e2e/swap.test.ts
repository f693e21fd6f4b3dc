import { get } from 'node:http';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { appRepository, Rig } from '../support/rig.ts';
import { Visitors } from '../support/visitor.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '20' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

const swaps = 20;

test(`no request fails over ${swaps} swaps, with slow answers and a WebSocket of another app in flight`, {
  timeout: 300_000,
}, async () => {
  await using repo = await appRepository('web');
  const url = await rig.pushUrl('busy');
  await using neighbour = await appRepository('web');
  await neighbour.push(await rig.pushUrl('neighbour'));
  await repo.push(url);

  const socket = await openSocket('neighbour');
  const visitors = new Visitors(rig.httpPort, 'busy.localhost', 300);
  const slow: Promise<string>[] = [];
  for (let swap = 1; swap <= swaps; swap += 1) {
    const version = `v${swap + 1}`;
    await repo.commit({ version }, version);
    const own = await openSocket('busy');
    const pushing = repo.push(url);
    // In flight when the switch happens: it needs three seconds, the push one or two.
    slow.push(rig.request('busy', '/slow?ms=3000').then((answer) => `${answer.status}`));
    const push = await pushing;
    expect(push.stderr).toMatch(/is live/);
    expect((await rig.request('busy')).body).toBe(version);
    // The socket of the app itself stays on the old release until the drain is over.
    expect(await echo(own, `still here ${swap}`)).toBe(`still here ${swap}`);
    own.close();
    expect(await echo(socket, `ping ${swap}`)).toBe(`ping ${swap}`);
  }
  expect(await Promise.all(slow)).toEqual(Array.from({ length: swaps }, () => '200'));
  await visitors.leave();
  socket.close();

  expect(visitors.failures).toEqual([]);
  expect(visitors.requests).toBeGreaterThan(200 * swaps);
  // Visitors never see an older version again after a newer one for longer than what was in flight.
  expect(visitors.versions.at(-1)).toBe(`v${swaps + 1}`);
});

test('server-sent events arrive one by one and outlive a swap', async () => {
  await using repo = await appRepository('web');
  const url = await rig.pushUrl('events');
  await repo.push(url);
  const events: string[] = [];
  const request = get(
    { host: '127.0.0.1', port: rig.httpPort, path: '/events', headers: { host: 'events.localhost' } },
    (response) => {
      response.on('data', (chunk) => events.push(String(chunk)));
      response.on('error', () => {});
    },
  );
  request.on('error', () => {});
  await expect.poll(() => events.length, { timeout: 5000 }).toBeGreaterThan(5);
  await repo.commit({ version: 'two' }, 'two');
  await repo.push(url);
  const seen = events.length;
  await expect.poll(() => events.length, { timeout: 5000 }).toBeGreaterThan(seen + 5);
  request.destroy();
});

test('an app that needs two seconds to listen gets no request before it does', async () => {
  const dockerfile =
    'FROM gantry-test/node:1\nCOPY . /app\nCMD ["sh","-c","sleep 2; exec node /app/server.js"]\n';
  await using repo = await appRepository('web', { Dockerfile: dockerfile });
  const url = await rig.pushUrl('slow-start');
  await repo.push(url);
  await repo.commit({ version: 'two' }, 'two');
  const visitors = new Visitors(rig.httpPort, 'slow-start.localhost', 200);
  expect((await repo.push(url)).stderr).toMatch(/is live/);
  await visitors.leave();
  expect(visitors.failures).toEqual([]);
  expect((await rig.request('slow-start')).body).toBe('two');
});

async function openSocket(app: string): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${rig.httpPort}/`, { headers: { host: `${app}.localhost` } });
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  return socket;
}

function echo(socket: WebSocket, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the WebSocket is silent')), 5000);
    socket.once('message', (data: Buffer) => {
      clearTimeout(timer);
      resolve(data.toString());
    });
    socket.once('close', () => reject(new Error('the WebSocket was closed')));
    socket.send(text);
  });
}
