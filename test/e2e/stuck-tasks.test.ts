import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { AppName } from '../../src/domain/app.ts';
import { keys } from '../../src/store/keys.ts';
import { loadSealer } from '../../src/store/sealing.ts';
import { TaskStore } from '../../src/store/task-store.ts';
import { localDocker } from '../support/base-image.ts';
import { appRepository, Rig, until } from '../support/rig.ts';

const app = 'tools' as AppName;
let rig: Rig;
let redis: Redis;
let tasks: TaskStore;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_STOP_TIMEOUT: '2' });
  await using repo = await appRepository('web');
  const push = await repo.push(await rig.pushUrl(app));
  if (push.code !== 0) throw new Error(push.stderr);
  redis = new Redis({ path: join(rig.dataDir, 'redis/redis.sock') }).on('error', () => {});
  tasks = new TaskStore(redis, await loadSealer(join(rig.dataDir, 'keys'), false));
});
afterAll(async () => {
  redis.disconnect();
  await rig[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

async function detached(script: string): Promise<number> {
  const { stdout } = await rig.gantry('run', app, '--detach', '--', 'sh', '-c', script);
  return Number(/\d+/.exec(stdout)?.[0]);
}

async function taskContainers(): Promise<string[]> {
  const label = [`gantry.store=${await rig.storeId}`, 'gantry.task'];
  const listed = await localDocker().listContainers({ all: true, filters: { label } });
  return listed.map(({ State, Labels }) => `${Labels['gantry.task']} ${State}`);
}

async function isOver(number: number): Promise<boolean> {
  return (await tasks.get(app, number))?.endedAt !== undefined;
}

test('a task is run whose asker died before telling the queue', async () => {
  const number = await tasks.request({ app, command: ['sh', '-c', 'echo ran'], by: 'ana' });
  await until('it is over', () => isOver(number));
  expect(await tasks.get(app, number)).toMatchObject({ state: 'SUCCEEDED', exitCode: 0 });
});

test('a task is taken up again when its worker died and the queue forgot it', async () => {
  const number = await detached('echo began; sleep 6; echo ended');
  await until('it runs', async () => (await taskContainers()).includes(`${number} running`));
  process.kill(await rig.workerPid(), 'SIGKILL');
  for (const key of await redis.keys(`${keys.bull}:task:*`)) await redis.del(key);
  await until('it is over', () => isOver(number), 60_000);
  expect(await tasks.get(app, number)).toMatchObject({ state: 'SUCCEEDED', exitCode: 0 });
  expect(await taskContainers()).toEqual([]);
});

test('a task ends whose worker died before it heard of the cancelling', async () => {
  const number = await detached('trap "" TERM; sleep 1000');
  await until('it runs', async () => (await taskContainers()).includes(`${number} running`));
  process.kill(await rig.workerPid(), 'SIGKILL');
  await rig.gantry('tasks', 'cancel', String(number), '--app', app);
  await until('it is over', () => isOver(number), 60_000);
  expect(await tasks.get(app, number)).toMatchObject({ state: 'FAILED', reason: 'cancelled' });
  expect(await taskContainers()).toEqual([]);
});

test('a task asked for just before Redis is killed is run once', async () => {
  const number = await detached('echo "ran in $(hostname)"; sleep 2');
  process.kill(await rig.redisPid(), 'SIGKILL');
  await until('it is over', () => isOver(number).catch(() => false), 60_000);
  expect(await tasks.get(app, number)).toMatchObject({ state: 'SUCCEEDED', exitCode: 0 });
  const logs = await rig.gantry('tasks', 'logs', String(number), '--app', app);
  expect(logs.stdout).toMatch(/^ran in \w+\n$/);
});

test('what is over is not looked at any more', async () => {
  await until('all are over', async () => (await tasks.open()).length === 0);
  expect(await redis.exists(keys.openTasks)).toBe(0);
});
