import { randomUUID } from 'node:crypto';
import { appendFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';
import { page, slowStep } from '../support/dockerfiles.ts';
import { resultOf } from '../support/git.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { Visitors } from '../support/visitor.ts';

let rig: Rig;
let repo: Awaited<ReturnType<typeof appRepository>>;
let redis: Redis;
beforeAll(async () => {
  rig = await Rig.start();
  repo = await appRepository('page');
  redis = new Redis({ path: join(rig.dataDir, 'redis/redis.sock') });
  await repo.push(await rig.pushUrl('shop'));
});
afterAll(async () => {
  redis.disconnect();
  await repo[Symbol.asyncDispose]();
  await rig[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

/** It cannot be written to, and comes back by itself. */
const troubles = [
  {
    what: 'is full',
    begin: () => redis.config('SET', 'maxmemory', '1'),
    end: () => redis.config('SET', 'maxmemory', '0'),
    reason: 'Redis is full (maxmemory)',
    fix: 'give it more memory: maxmemory in redis.conf',
  },
  {
    what: 'became a replica that may only be read',
    begin: () => redis.replicaof('127.0.0.1', 1),
    end: () => redis.replicaof('NO', 'ONE'),
    reason: 'Redis may only be read: it is a replica now',
    fix: 'make it the master again, or check GANTRY_REDIS_URL',
  },
  {
    what: 'wants a password that nobody told us',
    begin: async () => {
      await redis.config('SET', 'requirepass', 'sesame');
      await redis.auth('sesame');
      await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    },
    end: () => redis.config('SET', 'requirepass', ''),
    reason: 'Redis refuses our password',
    fix: 'check the password in GANTRY_REDIS_URL',
  },
];

describe('Redis', () => {
  test.each(troubles)(
    '$what: a push is refused with the reason, apps serve, and it works again by itself',
    async ({ begin, end, reason, fix }) => {
      const visitors = new Visitors(rig.httpPort, 'shop.localhost', 50);
      const version = `after ${randomUUID()}`;
      await repo.commit({ version });
      const url = await rig.pushUrl('shop');
      onTestFailed(async () => void (await end()));
      await begin();
      const began = performance.now();
      await until('it is noticed', async () => {
        const { stdout, stderr } = await rig.gantry('status');
        return (stdout + stderr).includes(reason);
      });
      const push = await repo.push(url);
      expect(performance.now() - began).toBeLessThan(15_000);
      expect(push.stderr).toContain(
        `remote: the deploy queue is unavailable: ${reason}; running apps are not affected\nremote: hint: ${fix}\n`,
      );
      expect(push.code).toBe(128);
      const change = await rig.api('PATCH', '/apps/shop/env', { env: { A: 'b' } });
      expect(change.status).toBe(503);
      expect((await rig.gantryHere('doctor')).stdout).toMatch(/^(warn|fail) +redis /m);
      await end();
      const ended = performance.now();
      await until('a push works again', async () => (await repo.push(url)).code === 0);
      expect(performance.now() - ended).toBeLessThan(15_000);
      await visitors.leave();
      expect(visitors.failures).toEqual([]);
      expect((await rig.request('shop')).body).toBe(version);
    },
    90_000,
  );

  test('is full in the middle of a build: the deployment ends once there is room again, and only one serves', async () => {
    await repo.commit({ version: 'through', Dockerfile: page(slowStep(4)) });
    const child = repo.startPush(await rig.pushUrl('shop'));
    const pushed = resultOf(child);
    let said = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    await until('it builds', () => said.includes('half-way'));
    await redis.config('SET', 'maxmemory', '1');
    await new Promise((resolve) => setTimeout(resolve, 8000)); // past the end of the build
    expect((await rig.request('shop')).status).toBe(200);
    await redis.config('SET', 'maxmemory', '0');
    const end = await pushed;
    expect(end.stderr).toMatch(/success: shop v\d+ is live/);
    expect(end.code).toBe(0);
    expect((await rig.request('shop')).body).toBe('through');
  }, 90_000);

  test('after all of that nothing is left behind', async () => {
    await expectNothingLeftBehind(rig);
    expect((await rig.request('shop')).status).toBe(200);
  });
});

test('the file of Redis is cut at its end or damaged: what is whole is taken, else one line says what to do, and apps serve', async () => {
  await using own = await Rig.start();
  await using page = await appRepository('page');
  await page.push(await own.pushUrl('shop'));
  await own.stop();
  const folder = join(own.dataDir, 'redis/appendonlydir');
  const file = join(folder, (await readdir(folder)).find((name) => name.endsWith('.incr.aof')) ?? '');
  await appendFile(file, '*3\r\n$3\r\nSET\r\n$5\r\ngan');
  await own.start();
  expect((await own.gantry('apps')).stdout).toMatch(/shop +v1 +#1 live/);
  await own.stop();

  const whole = await readFile(file);
  const damaged = Buffer.from(whole);
  damaged.write('garbage', damaged.lastIndexOf('HSET') - 4);
  await writeFile(file, damaged);
  const end = await own.failToStart();
  expect(end.stderr).toMatch(
    /^error: the file of Redis is damaged \(\S+redis\.log says where\); apps go on\. keep a copy of \S+, then cut off what is damaged: redis-check-aof --fix \S+manifest {2}or restore a backup: gantry restore\n$/,
  );
  expect((await own.gantryHere('doctor')).stdout).toMatch(/^fail +redis +the file of Redis is damaged/m);
  expect((await own.request('shop')).body).toBe('one');

  await writeFile(file, whole);
  await own.start();
  expect((await own.gantry('apps')).stdout).toMatch(/shop +v1 +#1 live/);
}, 90_000);
