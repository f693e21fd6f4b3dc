import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type AppName, parseAppName } from '../../src/domain/app.ts';
import { eventTypes } from '../../src/domain/outgoing-webhook.ts';
import { createLogger } from '../../src/logger.ts';
import { NoticeQueue, NoticeWorker } from '../../src/queue/notice-queue.ts';
import { DeploymentStore } from '../../src/store/deployment-store.ts';
import { Outbox } from '../../src/store/outbox.ts';
import { OutgoingStore } from '../../src/store/outgoing-store.ts';
import { Sealer } from '../../src/store/sealing.ts';
import { StoreEvents } from '../../src/store/store-events.ts';
import { type NoticeRef, Notifier } from '../../src/webhooks/notifier.ts';
import { askFor } from '../support/deployments.ts';
import { type Received, startReceiver } from '../support/receiver.ts';
import { temporaryRedis } from '../support/redis.ts';
import { until } from '../support/rig.ts';

let redis: Awaited<ReturnType<typeof temporaryRedis>>;
let receiver: Awaited<ReturnType<typeof startReceiver>>;
let outgoing: OutgoingStore;
let deployments: DeploymentStore;
const sealer = new Sealer(new Map([['a', randomBytes(32)]]));
const logger = createLogger('silent', 'test');
beforeAll(async () => {
  redis = await temporaryRedis();
  receiver = await startReceiver();
  outgoing = new OutgoingStore(redis.connect(), sealer);
  deployments = new DeploymentStore(redis.connect());
});
afterAll(async () => {
  await receiver[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
});
beforeEach(() => {
  receiver.received.length = 0;
});

/** What a server has of it. `enqueue` may be made to fail, as when the process dies just then. */
async function server(mayEnqueue: () => boolean = () => true) {
  const events = new StoreEvents(redis.connect());
  await events.start();
  const queue = new NoticeQueue<NoticeRef>(redis.connect());
  const ended: number[] = [];
  const notifier = new Notifier({
    outbox: new Outbox(redis.connect()),
    outgoing,
    deployments,
    events,
    enqueue: async (notice, round) => {
      if (!mayEnqueue()) throw new Error('the process has died');
      await queue.add(notice, round);
    },
    onEnded: ({ number }) => ended.push(number),
    onSent: () => {},
    appUrl: (app) => `http://${app}.example`,
    send: {
      resolve: async () => ({ address: '127.0.0.1' }),
      timeoutMs: 2000,
      ca: undefined,
      userAgent: 'Gantry/test',
    },
    retries: [10],
    logger,
  });
  const worker = new NoticeWorker<NoticeRef>({
    connection: redis.connect(),
    attempt: (notice) => notifier.attempt(notice),
    logger,
  });
  notifier.start();
  worker.start();
  return {
    ended,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([notifier.stop(), worker.close()]);
      await queue.close();
      events.close();
    },
  };
}

/** Each supersedes the one before it. */
async function ask(app: AppName, times: number): Promise<void> {
  for (let n = 0; n < times; n += 1) await askFor(deployments, app, (n % 16).toString(16));
}

async function listenTo(app: AppName): Promise<void> {
  const url = `${receiver.url}/${app}`;
  await outgoing.add({
    scope: app,
    url,
    format: 'json',
    events: eventTypes,
    provider: undefined,
    createdBy: 'ana',
  });
}

const idOf = ({ headers }: Received): string => String(headers['webhook-id']);

test('two servers tell each event once', async () => {
  const app = parseAppName('two') as AppName;
  await listenTo(app);
  await using one = await server();
  await using other = await server();
  await ask(app, 40);
  // Every one is queued, and all but the last are superseded.
  await until('all came', () => receiver.received.length >= 79);
  await until('the ends are counted', () => one.ended.length + other.ended.length >= 39);
  expect(new Set(receiver.received.map(idOf)).size).toBe(79);
  expect(receiver.received).toHaveLength(79);
  expect([...one.ended, ...other.ended].sort((a, b) => a - b)).toEqual(
    Array.from({ length: 39 }, (_, index) => index + 1),
  );
});

test('a server that dies between noting an event and having it sent leaves it to the next, under the same id', async () => {
  const app = parseAppName('dies') as AppName;
  await listenTo(app);
  let tries = 0;
  {
    await using _dying = await server(() => {
      tries += 1;
      return false;
    });
    await ask(app, 1);
    await until('it was about to be sent', () => tries > 0);
  }
  const [webhook] = await outgoing.list(app);
  const [noted] = await outgoing.notices(app, webhook?.id ?? '');
  expect(noted).toMatchObject({ state: 'waiting', attempts: 0 });
  expect(receiver.received).toEqual([]);

  await using _next = await server();
  await until('it came', () => receiver.received.length === 1);
  expect(receiver.received.map(idOf)).toEqual([noted?.id]);
});

test('what was asked for while no server ran is told by the next; one webhook that cannot be read holds up no other', async () => {
  const [app, other] = ['asleep', 'unreadable'].map((name) => parseAppName(name)) as [AppName, AppName];
  const stranger = new OutgoingStore(redis.connect(), new Sealer(new Map([['b', randomBytes(32)]])));
  await stranger.add({
    scope: other,
    url: 'https://chat.example/',
    format: 'slack',
    events: eventTypes,
    provider: undefined,
    createdBy: 'ana',
  });
  // More than are read at once.
  await ask(other, 70);
  await listenTo(app);
  await ask(app, 1);
  await using _next = await server();
  await until('it came', () => receiver.received.length === 1);
  expect(receiver.received).toMatchObject([{ path: '/asleep' }]);
});
