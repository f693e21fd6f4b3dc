import { fork } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { FollowersNews, FollowersOrder } from '../support/followers-child.ts';
import { OwnEngine } from '../support/own-engine.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { startPush } from '../support/started-push.ts';

/** As many as are promised take long; with `GANTRY_FULL_LOAD=1` they come. */
const isFull = process.env.GANTRY_FULL_LOAD === '1';
const followers = isFull ? 10_000 : 1000;
const apps = isFull ? 1000 : 150;
const pushes = isFull ? 1000 : 30;

async function residentMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}

/** What processes take while it is watched, at most, and what they took before. */
async function watchMemory(...pids: number[]) {
  const before = await Promise.all(pids.map(residentMiB));
  const most = [...before];
  let looking = Promise.resolve();
  const timer = setInterval(() => {
    looking = Promise.all(pids.map(residentMiB)).then(
      (now) => now.forEach((megabytes, index) => (most[index] = Math.max(most[index] ?? 0, megabytes))),
      () => {}, // it is over
    );
  }, 200);
  return {
    grown: () => most.map((megabytes, index) => megabytes - (before[index] ?? 0)),
    shown: () =>
      `${before.map(Math.round).join(' and ')} MiB before, at most ${most.map(Math.round).join(' and ')} MiB`,
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await looking;
    },
  };
}

/** Connections of a process of their own. */
function follow(order: FollowersOrder) {
  const child = fork(new URL('../support/followers-child.ts', import.meta.url), [JSON.stringify(order)], {
    execArgv: ['--import', 'tsx'],
  });
  let news: FollowersNews = { reading: 0, over: 0, ends: [], lines: [] };
  child.on('message', (message) => {
    news = message as FollowersNews;
  });
  return { news: () => news, leave: () => child.kill() };
}

describe('of one log', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await Rig.start();
  });
  afterAll(() => rig[Symbol.asyncDispose]());
  beforeEach(() => rig.explainFailures());

  test(`${followers} followers and 50 who do not read: all see all of it, nobody is slowed, and memory is given back`, async () => {
    const talk =
      'echo half-way; while [ ! -e go ]; do sleep 0.1; done; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo "line $i of what it says, which is as long as lines of builds are"; done';
    await using repo = await appRepository('web', { 'talk.sh': talk });
    await rig.setEnv('busy', { CC_PRE_BUILD_HOOK: 'sh talk.sh' });
    const push = startPush(repo, await rig.pushUrl('busy'));
    await push.says('half-way');
    await using memory = await watchMemory(rig.pid);
    const token = await rig.token;
    const path = '/api/v1/apps/busy/deployments/1/logs';
    const order = { port: rig.port, path, token, isLazy: false };
    const began = performance.now();
    const crowds = [2, 3, 4, 5].map((end) =>
      follow({ ...order, count: followers / 4, address: `127.0.0.${end}` }),
    );
    const lazy = follow({ ...order, count: 50, address: '127.0.0.6', isLazy: true });
    try {
      const all = (): FollowersNews[] => crowds.map(({ news }) => news());
      const sum = (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0);
      await until(
        'all of them read',
        () => {
          expect(all().flatMap(({ ends }) => ends)).toEqual([]);
          return sum(all().map(({ reading }) => reading)) === followers && lazy.news().reading === 50;
        },
        300_000,
      );
      const cameIn = performance.now() - began;
      const [folder = ''] = await readdir(join(rig.dataDir, 'work/busy'));
      await writeFile(join(rig.dataDir, 'work/busy', folder, 'go'), '');
      expect((await push.result).code).toBe(0);
      const pushedAt = performance.now();
      await until(
        'all of them have the end',
        () => sum(all().map(({ over }) => over)) === followers,
        300_000,
      );
      const late = performance.now() - pushedAt;
      console.log(
        `${followers} followers came in ${Math.round(cameIn / 1000)} s and had the end ${Math.round(late / 1000)} s after the push: ${memory.shown()}`,
      );
      expect(new Set(all().flatMap(({ ends }) => ends))).toEqual(new Set(['live']));
      const [lines, ...others] = new Set(all().flatMap((one) => one.lines));
      expect(others).toEqual([]);
      expect(lines).toBeGreaterThan(3000);
      expect(late).toBeLessThan(isFull ? 120_000 : 10_000);
      // For the connections themselves; the log is there once.
      expect(memory.grown()[0]).toBeLessThan(100 + followers / 15);
    } finally {
      for (const one of [...crowds, lazy]) one.leave();
    }
  }, 900_000);
});

describe('at once', () => {
  let engine: OwnEngine | undefined;
  let rig: Rig;
  beforeAll(async () => {
    // A thousand networks and containers are no good to whoever else uses the engine of this machine.
    engine = isFull ? await OwnEngine.start() : undefined;
    rig = await Rig.start({ GANTRY_CONCURRENCY: '8' }, engine);
  }, 120_000);
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
    await engine?.[Symbol.asyncDispose]();
  }, 1_200_000);
  beforeEach(() => rig.explainFailures());

  const settled = async (): Promise<boolean> => {
    const { running, queued } = JSON.parse((await rig.api('GET', '/status')).body) as Record<string, number>;
    return running === 0 && queued === 0;
  };

  const networks = async (): Promise<number> => {
    const label = [`gantry.store=${await rig.storeId}`];
    return (await rig.docker.listNetworks({ filters: { label } })).length;
  };

  /** Whose images are nowhere, so that each deployment is short: what is tried is the way there and back. */
  test(`${apps} apps deployed at once: each ends once, in its turn, and memory stays where it is`, async () => {
    const names = Array.from({ length: apps }, (_, index) => `crowd-${index}`);
    const body = { kind: 'image', image: '127.0.0.1:1/none:1' };
    await using memory = await watchMemory(rig.pid, await rig.workerPid());
    const began = performance.now();
    const inAll = async <T>(ask: (name: string) => Promise<T>): Promise<T[]> => {
      const answers: T[] = [];
      const left = [...names];
      const take = async (): Promise<void> => {
        for (let name = left.pop(); name !== undefined; name = left.pop()) answers.push(await ask(name));
      };
      await Promise.all(Array.from({ length: 50 }, take));
      return answers;
    };
    const accepted = await inAll(async (name) => {
      await rig.api('POST', '/apps', { name });
      return (await rig.api('POST', `/apps/${name}/deployments`, body)).status;
    });
    expect(new Set(accepted)).toEqual(new Set([202]));
    const acceptedAt = performance.now();
    await until('nothing waits', settled, isFull ? 1_800_000 : 240_000);
    const made = await networks();
    await sleep(1000);
    expect(await networks()).toBe(made); // of what has ended, nothing goes on
    const ends = await inAll(async (name) => {
      const { deployments } = JSON.parse((await rig.api('GET', `/apps/${name}/deployments`)).body) as {
        deployments: { number: number; state: string }[];
      };
      return deployments.map(({ number, state }) => `${number} ${state}`).join();
    });
    expect(new Set(ends)).toEqual(new Set(['1 failed']));
    console.log(
      `${apps} apps: accepted in ${Math.round((acceptedAt - began) / 1000)} s, ended after ${Math.round((performance.now() - began) / 1000)} s, server and worker ${memory.shown()}`,
    );
    for (const megabytes of memory.grown()) expect(megabytes).toBeLessThan(200);
  }, 2_400_000);

  test(`${pushes} apps pushed at once: each is live and its pusher told so, and memory stays where it is`, async () => {
    await using repo = await appRepository('page');
    const urls = await Promise.all(
      Array.from({ length: pushes }, (_, index) => rig.pushUrl(`herd-${index}`)),
    );
    await using memory = await watchMemory(rig.pid, await rig.workerPid());
    const began = performance.now();
    const results = await Promise.all(urls.map((url) => repo.push(url)));
    console.log(
      `${pushes} pushes: all ended after ${Math.round((performance.now() - began) / 1000)} s, server and worker ${memory.shown()}`,
    );
    const unexpected = results.filter(
      ({ code, stderr }) => code !== 0 || !/success: herd-\d+ v1 is live/.test(stderr),
    );
    expect(unexpected.slice(0, 3).map(({ stderr }) => stderr)).toEqual([]);
    for (const index of urls.keys()) expect((await rig.request(`herd-${index}`)).status).toBe(200);
    // 0.05 stay for each app that runs: its output is followed. The rest is what V8 lets lie about while so much happens.
    for (const megabytes of memory.grown()) expect(megabytes).toBeLessThan(100 + pushes * 0.2);
  }, 3_600_000);
});
