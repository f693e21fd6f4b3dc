import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AppName, parseAppName } from '../../src/domain/app.ts';
import { createLogger } from '../../src/logger.ts';
import { PollSchedule, PollWorker } from '../../src/queue/poll-schedule.ts';
import { temporaryRedis } from '../support/redis.ts';
import { until } from '../support/rig.ts';

let redis: Awaited<ReturnType<typeof temporaryRedis>>;
beforeAll(async () => {
  redis = await temporaryRedis();
});
afterAll(() => redis[Symbol.asyncDispose]());

test('each tick is one look, however many servers there are, and a schedule that is ended has no more', async () => {
  const looks: { app: AppName; tick: string; by: number }[] = [];
  const [one, other] = ['one', 'other'].map((name) => parseAppName(name) as AppName) as [AppName, AppName];
  const workers = [1, 2, 3].map(
    (by) =>
      new PollWorker({
        connection: redis.connect(),
        poll: async (app, tick) => void looks.push({ app, tick, by }),
        logger: createLogger('silent', 'test'),
      }),
  );
  for (const worker of workers) worker.start();
  const schedule = new PollSchedule(redis.connect());
  const of = (app: AppName) => looks.filter((look) => look.app === app);

  await schedule.set(one, 0.2);
  // As every server that starts does.
  for (let times = 0; times < 3; times += 1) await schedule.set(other, 0.2);
  await until('both were looked at ten times', () => of(one).length > 10 && of(other).length > 10);
  for (const app of [one, other]) {
    const ticks = of(app).map(({ tick }) => tick);
    expect(new Set(ticks).size).toBe(ticks.length);
    expect(ticks.every((tick) => /^\d{13}$/.test(tick))).toBe(true);
  }

  await schedule.set(one, undefined);
  const looked = of(one).length;
  const others = of(other).length;
  await until('the other goes on', () => of(other).length > others + 5);
  expect(of(one).length - looked).toBeLessThanOrEqual(1);
  await schedule.close();
  for (const worker of workers) await worker.close();
});
