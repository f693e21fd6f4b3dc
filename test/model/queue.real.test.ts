import { type ChildProcess, fork } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type AppName, parseAppName } from '../../src/domain/app.ts';
import type { Route } from '../../src/domain/route.ts';
import { createLogger } from '../../src/logger.ts';
import { RouteAgent } from '../../src/router/route-agent.ts';
import { keys } from '../../src/store/keys.ts';
import { StoreEvents } from '../../src/store/store-events.ts';
import { randomNumbers } from '../support/random.ts';
import { temporaryRedis } from '../support/redis.ts';
import { until } from '../support/rig.ts';
import { everyDeployment, wrongContainers, wrongEnds, wrongService } from './promises.ts';
import { engineKeys } from './scripted-engine.ts';
import { type Finale, World } from './world.ts';

/** How long things are asked for: longer runs are for a night. Everything after it takes as long again at most. */
const seconds = Number(process.env.MODEL_SECONDS ?? 12);
/** What is asked of each app, in which order; how that interleaves is up to the machine. */
const seed = Number(process.env.MODEL_SEED ?? randomInt(2 ** 31));
const appCount = 60;

function startWorker(socket: string, dir: string): ChildProcess {
  return fork(new URL('./worker-child.ts', import.meta.url), [socket, dir], {
    execArgv: ['--import', 'tsx'],
    stdio: process.env.MODEL_LOG === undefined ? 'ignore' : 'inherit',
  });
}

test(`whatever happens in whatever order, each deployment ends once and the last push of an app wins (MODEL_SEED=${seed})`, {
  timeout: (seconds * 2 + 120) * 1000,
}, async () => {
  console.log(`MODEL_SEED=${seed} MODEL_SECONDS=${seconds}`);
  await using redis = await temporaryRedis();
  const dir = await mkdtemp(join(tmpdir(), 'gmodel-'));
  const healthy = createServer((_, res) => res.end('ok'));
  await new Promise<void>((resolve) => healthy.listen(0, resolve));
  const { port } = healthy.address() as AddressInfo;
  const world = await World.open(redis.connect, dir);
  const events = new StoreEvents(redis.connect());
  await events.start();
  const agent = new RouteAgent({
    id: 'model',
    router: {
      apply: async (routes: readonly Route[]) => {
        for (const { app, live } of routes) {
          const [serving] = live;
          const history = world.served.get(app) ?? [];
          if (serving && history.at(-1) !== serving.release)
            world.served.set(app, [...history, serving.release]);
        }
      },
      drain: async () => 'idle',
      failures: async () => new Map(),
    },
    routes: world.stores.routes,
    events,
    assertOwnStore: async () => {},
    hostsOf: () => [],
    drainTimeoutMs: 1000,
    onSwapFailures: () => {},
    logger: createLogger('silent', 'model'),
  });
  agent.start();
  const workers = [0, 1, 2].map(() => startWorker(redis.process.socket, dir));
  try {
    const random = randomNumbers(seed);
    const names = Array.from({ length: appCount }, (_, index) => parseAppName(`app-${index}`) as AppName);
    const commitOf = (draw: () => number): string =>
      Array.from({ length: 40 }, () => Math.floor(draw() * 16).toString(16)).join('');
    for (const app of names) {
      await world.stores.apps.create(app);
      await world.stores.apps.changeEnv(app, { set: { PORT: String(port) }, unset: [] });
    }
    await until('a worker is there', async () => (await world.queue.workers()) > 0);
    const over = performance.now() + seconds * 1000;
    const asking = names.map(async (app) => {
      const draw = randomNumbers(Math.floor(random() * 2 ** 31));
      while (performance.now() < over) {
        await world.act(app, draw, commitOf(draw));
        // Often at once, now and then with time for a deployment to end.
        await sleep(draw() ** 4 * 4000);
      }
    });
    const endings = randomNumbers(Math.floor(random() * 2 ** 31));
    const killing = (async () => {
      // What a dead worker was at is taken up by another within twenty seconds.
      for (let index = 0; ; index += 1) {
        await sleep(5000 + random() * 5000);
        if (performance.now() > over) return;
        world.count('workers killed');
        workers[index % 2]?.kill('SIGKILL');
        workers[index % 2] = startWorker(redis.process.socket, dir);
      }
    })();
    const sleeper = workers[2];
    const pausing = (async () => {
      // Mostly until others have what it was at, and sometimes not.
      while (performance.now() < over) {
        await sleep(1000 + random() * 4000);
        world.count('workers paused');
        sleeper?.kill('SIGSTOP');
        await sleep(random() < 0.8 ? 20_000 + random() * 5000 : random() * 10_000);
        sleeper?.kill('SIGCONT');
      }
    })();
    await Promise.all([...asking, killing]);

    await world.redis.set(engineKeys.calm, '1');
    const last = new Map<AppName, Finale>();
    for (const app of names) last.set(app, await world.end(app, endings, commitOf(endings)));
    await pausing;
    const open = async (): Promise<number> => (await world.stores.deployments.unsettled()).length;
    await until('all has ended', async () => (await open()) === 0, 60_000);
    await until('all is swept', async () => (await wrongContainers(world)).length === 0, 15_000).catch(
      () => {},
    );

    const told = new Map<string, string[]>();
    for (const [, fields] of await world.redis.xrange(keys.outbox, '-', '+')) {
      const of = (name: string): string => fields[fields.indexOf(name) + 1] ?? '';
      const name = `${of('app')} ${of('number')}`;
      told.set(name, [...(told.get(name) ?? []), of('state')]);
    }
    const found = await Promise.all(
      names.map(async (app) => [
        ...(await wrongEnds(world, app, told)),
        ...(await wrongService(world, app, last.get(app) as Finale)),
      ]),
    );
    const all = (await Promise.all(names.map((app) => everyDeployment(world, app)))).flat();
    const ends = new Map<string, number>();
    for (const { state } of all) ends.set(state, (ends.get(state) ?? 0) + 1);
    console.log('asked for', Object.fromEntries(world.asked), 'came to', Object.fromEntries(ends));
    expect([...found.flat(), ...(await wrongContainers(world))].slice(0, 20)).toEqual([]);
    expect(await world.redis.smembers(engineKeys.wrong)).toEqual([]);
  } finally {
    for (const worker of workers) worker.kill('SIGKILL');
    await agent.stop();
    events.close();
    await world.queue.close();
    healthy.closeAllConnections();
    healthy.close();
    await rm(dir, { recursive: true, force: true });
  }
});
