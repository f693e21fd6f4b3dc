import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AppName, parseAppName } from '../../src/domain/app.ts';
import { Stopped } from '../../src/domain/deployment.ts';
import { AppLease } from '../../src/queue/app-lease.ts';
import { DeploymentStore } from '../../src/store/deployment-store.ts';
import { LeaseStore } from '../../src/store/lease-store.ts';
import { temporaryRedis } from '../support/redis.ts';

let redis: Awaited<ReturnType<typeof temporaryRedis>>;
let leases: LeaseStore;
let deployments: DeploymentStore;
beforeAll(async () => {
  redis = await temporaryRedis();
  leases = new LeaseStore(redis.connect());
  deployments = new DeploymentStore(redis.connect());
});
afterAll(() => redis[Symbol.asyncDispose]());

const timing = { ttlMs: 600, renewMs: 100, marginMs: 100 };
let count = 0;
const newApp = (): AppName => parseAppName(`app-${(count += 1)}`) as AppName;

async function acquire(app: AppName): Promise<AppLease> {
  const lease = await AppLease.acquire(leases, app, timing);
  if (!(lease instanceof AppLease)) throw new Error('busy');
  return lease;
}

function ask(app: AppName, commit: string) {
  return deployments.request({
    app,
    requestId: randomUUID(),
    trigger: 'push',
    commit: commit.repeat(40) as never,
    pull: undefined,
    subject: '',
    branch: 'main',
    oldSha: '0'.repeat(40),
    by: 'ana',
    noCache: false,
    image: undefined,
  });
}

function stopOf(lease: AppLease): unknown {
  return lease.signal.reason instanceof Stopped ? lease.signal.reason.stop : lease.signal.reason;
}

test('one app has one holder at a time, the next one a higher fence', async () => {
  const app = newApp();
  const first = await acquire(app);
  expect(await AppLease.acquire(leases, app, timing)).toMatchObject({
    busyForMs: expect.any(Number) as number,
  });
  await first.release();
  const second = await acquire(app);
  expect(second.fence).toBe(first.fence + 1);
  await second.release();
});

test('is kept for longer than its time by renewing', async () => {
  const app = newApp();
  const lease = await acquire(app);
  lease.keep();
  const until = performance.now() + 2 * timing.ttlMs;
  while (performance.now() < until) {
    expect(await AppLease.acquire(leases, app, timing)).not.toBeInstanceOf(AppLease);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  lease.assertHeld();
  await lease.release();
});

test('ends by the local clock before Redis lets somebody else in, when it cannot be renewed', async () => {
  const app = newApp();
  const lease = await acquire(app);
  // Never renewed: as if the process had slept or Redis were away.
  await expect
    .poll(() => AppLease.acquire(leases, app, timing), { timeout: 5000, interval: 5 })
    .toBeInstanceOf(AppLease);
  expect(() => lease.assertHeld()).toThrow(Stopped);
  expect(stopOf(lease)).toEqual({ kind: 'lease lost' });
});

test('is over for others when they have seen no sign of life for its whole time, however long ago the last one was', async () => {
  const app = newApp();
  await acquire(app);
  await new Promise((resolve) => setTimeout(resolve, 2 * timing.ttlMs));
  // Somebody who has not looked before, as after a restart: the clocks of the two cannot be compared.
  const others = new LeaseStore(redis.connect());
  const began = performance.now();
  await expect
    .poll(() => AppLease.acquire(others, app, timing), { timeout: 5000, interval: 5 })
    .toBeInstanceOf(AppLease);
  expect(performance.now() - began).toBeGreaterThanOrEqual(timing.ttlMs);
});

test('is had at once by somebody who has looked for its whole time', async () => {
  const app = newApp();
  await acquire(app);
  const others = new LeaseStore(redis.connect());
  await others.look(app);
  await new Promise((resolve) => setTimeout(resolve, timing.ttlMs));
  await others.look(app);
  expect(await AppLease.acquire(others, app, timing)).toBeInstanceOf(AppLease);
});

test('taken away by somebody else it is lost at the next look', async () => {
  const app = newApp();
  const lease = await acquire(app);
  lease.watch(1, () => true);
  await redis.connect().set(`gantry:lease:${app}`, 'somebody else');
  await expect.poll(() => stopOf(lease), { timeout: 5000 }).toEqual({ kind: 'lease lost' });
});

test('whose deployment was cancelled still owns the app, until somebody else has it', async () => {
  const app = newApp();
  const lease = await acquire(app);
  lease.watch(1, () => true);
  lease.stop({ kind: 'cancelled', reason: 'by ana' });
  expect(() => lease.assertHeld()).toThrow(Stopped);
  expect(() => lease.assertOwned()).not.toThrow();
  await redis.connect().set(`gantry:lease:${app}`, 'somebody else');
  await lease.renewNow();
  expect(() => lease.assertOwned()).toThrow(Stopped);
  await lease.release();
});

test('is owned no longer than its time when it cannot be renewed', async () => {
  const lease = await acquire(newApp());
  await new Promise((resolve) => setTimeout(resolve, timing.ttlMs - timing.marginMs));
  expect(() => lease.assertOwned()).toThrow(Stopped);
});

test('is held although Redis has forgotten it, as long as nobody else had the app', async () => {
  const app = newApp();
  const lease = await acquire(app);
  lease.keep();
  const commands = redis.connect();
  await commands.del(`gantry:lease:${app}`);
  await lease.renewNow();
  lease.assertHeld();
  expect(await AppLease.acquire(leases, app, timing)).not.toBeInstanceOf(AppLease);

  await commands.del(`gantry:lease:${app}`);
  const other = await acquire(app);
  await other.release();
  await lease.renewNow();
  expect(stopOf(lease)).toEqual({ kind: 'lease lost' });
});

test('learns of a newer push and of a cancel', async () => {
  const app = newApp();
  await ask(app, 'a');
  const lease = await acquire(app);
  await deployments.claim(app, lease.fence, 3);
  lease.watch(1, () => true);
  await ask(app, 'b');
  await expect.poll(() => stopOf(lease), { timeout: 5000 }).toEqual({ kind: 'newer push', by: 2 });
  await lease.release();

  const other = await acquire(app);
  await deployments.claim(app, other.fence, 3);
  other.watch(2, () => true);
  await deployments.cancel(app, 2, 'by ana');
  await other.renewNow();
  expect(stopOf(other)).toEqual({ kind: 'cancelled', reason: 'by ana' });
  await other.release();
});

test('a hint before the deployment is known does not take that very deployment for a newer one', async () => {
  const app = newApp();
  await ask(app, 'a');
  const lease = await acquire(app);
  lease.keep();
  await lease.renewNow();
  expect(lease.signal.aborted).toBe(false);
  await lease.release();
});

test('what cannot be stopped any more is not', async () => {
  const app = newApp();
  await ask(app, 'a');
  const lease = await acquire(app);
  lease.watch(1, (cause) => cause.kind === 'lease lost');
  await ask(app, 'b');
  await lease.renewNow();
  lease.stop({ kind: 'shutdown' });
  expect(lease.signal.aborted).toBe(false);
  await lease.release();
});
