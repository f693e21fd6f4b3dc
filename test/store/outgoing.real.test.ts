import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AppName, parseAppName } from '../../src/domain/app.ts';
import { eventTypes, type Notice, testPayload } from '../../src/domain/outgoing-webhook.ts';
import { DeploymentStore } from '../../src/store/deployment-store.ts';
import { LeaseStore } from '../../src/store/lease-store.ts';
import { Outbox } from '../../src/store/outbox.ts';
import { OutgoingStore } from '../../src/store/outgoing-store.ts';
import { Sealer } from '../../src/store/sealing.ts';
import { askFor, own as ownIt } from '../support/deployments.ts';
import { temporaryRedis } from '../support/redis.ts';

let redis: Awaited<ReturnType<typeof temporaryRedis>>;
let deployments: DeploymentStore;
let leases: LeaseStore;
let outbox: Outbox;
let outgoing: OutgoingStore;
beforeAll(async () => {
  redis = await temporaryRedis();
  const connection = redis.connect();
  deployments = new DeploymentStore(connection);
  leases = new LeaseStore(connection);
  outbox = new Outbox(connection);
  outgoing = new OutgoingStore(connection, new Sealer(new Map([['a', randomBytes(32)]])));
});
afterAll(() => redis[Symbol.asyncDispose]());

const appNamed = (name: string): AppName => parseAppName(name) as AppName;

const ask = (app: AppName, letter: string, requestId?: string) => askFor(deployments, app, letter, requestId);
const own = (app: AppName) => ownIt(leases, app);

async function written(app: AppName): Promise<string[]> {
  const events = (await outbox.read()).filter((event) => event.app === app);
  return events.map(({ number, state }) => `${number} ${state}`);
}

/** Each command is what ioredis would send again, had its answer been lost. */
describe('a change of a deployment is in the outbox exactly once', () => {
  test('asked for, begun, given back, begun again and ended', async () => {
    const app = appNamed('changes');
    const id = randomUUID();
    await ask(app, 'a', id);
    await ask(app, 'a', id);
    const fence = await own(app);
    await deployments.claim(app, fence, 3);
    await deployments.claim(app, fence, 3);
    await deployments.handBack(app, 1, fence);
    await deployments.claim(app, fence, 3);
    for (let times = 0; times < 2; times += 1) await deployments.finish(app, 1, fence, { state: 'live' });
    expect(await written(app)).toEqual(['1 queued', '1 running', '1 live']);
  });

  test('superseded while it waits, cancelled, and failed after too many workers', async () => {
    const app = appNamed('ends');
    await ask(app, 'a');
    await ask(app, 'b');
    expect(await written(app)).toEqual(['1 queued', '2 queued', '1 superseded']);
    await deployments.cancel(app, 2, 'by ana');
    await deployments.cancel(app, 2, 'by ana');
    await ask(app, 'c');
    const fence = await own(app);
    await deployments.claim(app, fence, 0);
    await deployments.claim(app, fence, 0);
    expect((await written(app)).slice(3)).toEqual(['2 cancelled', '3 queued', '3 failed']);
  });

  test('and one that a worker whose lease is over writes is in neither', async () => {
    const app = appNamed('late');
    await ask(app, 'a');
    const fence = await own(app);
    await deployments.claim(app, fence, 3);
    expect(await deployments.finish(app, 1, fence - 1, { state: 'live' })).toBe(false);
    expect(await written(app)).toEqual(['1 queued', '1 running']);
  });
});

describe('outgoing webhooks', () => {
  const add = (scope: AppName) =>
    outgoing.add({
      scope,
      url: 'https://chat.example/secret-path',
      format: 'slack',
      events: eventTypes,
      provider: undefined,
      createdBy: 'ana',
    });
  const noticeOf = (scope: AppName, webhook: string, id: string): Notice => ({
    id,
    scope,
    webhook,
    payload: testPayload(scope, null, new Date(0)),
    createdAt: new Date(0),
    state: 'waiting',
    attempts: 0,
    verdict: undefined,
    nextAt: undefined,
  });

  test('are kept with nothing of them to be read in Redis', async () => {
    const app = appNamed('sealed');
    const { id, secret } = await add(app);
    const connection = redis.connect();
    const stored = JSON.stringify(
      await connection.hgetall((await connection.keys(`*outgoing:sealed:${id}`))[0] ?? ''),
    );
    expect(stored).toContain('slack');
    for (const word of ['secret-path', secret]) expect(stored).not.toContain(word);
    expect(await outgoing.get(app, id)).toMatchObject({ url: 'https://chat.example/secret-path' });
  });

  test('keep the last fifty that are over, and every one that waits', async () => {
    const app = appNamed('many');
    const { id } = await add(app);
    for (let n = 1; n <= 70; n += 1) {
      const notice = noticeOf(app, id, `n${n}`);
      expect(await outgoing.begin(notice)).toBe('begun');
      expect(await outgoing.begin(notice)).toBe('already');
      if (n > 5) await outgoing.note({ ...notice, state: 'delivered' });
    }
    const listed = (await outgoing.notices(app, id)).map((notice) => notice.id);
    expect(listed).toEqual(Array.from({ length: 50 }, (_, index) => `n${70 - index}`));
    expect(await outgoing.notice(app, id, 'n3')).toMatchObject({ state: 'waiting' });
    expect(await outgoing.notice(app, id, 'n10')).toBeUndefined();
  });

  test('that are removed take what waits with them, and nothing brings them back', async () => {
    const app = appNamed('removed');
    const { id } = await add(app);
    const notice = noticeOf(app, id, 'n1');
    await outgoing.begin(notice);
    expect(await outgoing.remove(app, id)).toBe(true);
    expect(await outgoing.begin(notice)).toBe('already');
    await outgoing.note({ ...notice, state: 'delivered' });
    await outgoing.disable(app, id, 'gone');
    expect(await outgoing.get(app, id)).toBeUndefined();
    expect(await outgoing.notices(app, id)).toEqual([]);
    expect(await outgoing.remove(app, id)).toBe(false);
  });
});
