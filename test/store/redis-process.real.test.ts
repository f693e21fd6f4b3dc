import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLogger } from '../../src/logger.ts';
import { RedisProcess } from '../../src/store/redis-process.ts';

let folder: string;
let redis: RedisProcess;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gantry-redis-'));
  redis = new RedisProcess(folder, createLogger('silent', 'test'));
  await redis.start();
});
afterEach(async () => {
  await redis.stop();
  await rm(folder, { recursive: true, force: true });
});

async function pid(): Promise<number> {
  return Number(await readFile(join(folder, 'redis.pid'), 'utf8').catch(() => ''));
}

test('is started again however often it dies', async () => {
  for (let death = 1; death <= 7; death += 1) {
    const dead = await pid();
    process.kill(dead, 'SIGKILL');
    await expect.poll(async () => [dead, 0].includes(await pid()), { timeout: 10_000 }).toBe(false);
  }
});

test('is started again at once when it dies while it starts', async () => {
  const first = await pid();
  process.kill(first, 'SIGKILL');
  let second = first;
  while (second === first || second === 0) second = await pid();
  process.kill(second, 'SIGKILL');
  await expect.poll(async () => [second, 0].includes(await pid()), { timeout: 3000 }).toBe(false);
});
