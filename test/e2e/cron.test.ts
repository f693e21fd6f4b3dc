import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { appRepository, Rig, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

type Listed = {
  schedule: string;
  command: string;
  next: string | null;
  last: { number: number; state: string; exitCode: number | null } | null;
  skippedAt: string | null;
}[];

async function listed(app: string): Promise<Listed> {
  return JSON.parse((await rig.gantry('cron', '--app', app, '--json')).stdout) as Listed;
}

async function tasksOf(
  app: string,
): Promise<{ number: number; by: string; createdAt: string; cron: number }[]> {
  return JSON.parse((await rig.gantry('tasks', '--app', app, '--json')).stdout) as never;
}

test('a commit says what is run when; each tick is one task with two workers, and never beside the one before', async () => {
  const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
  const second = spawn(process.execPath, [cli, 'worker'], { env: rig.env, stdio: 'ignore' });
  try {
    await using repo = await appRepository('web', {
      'clevercloud/cron.json': JSON.stringify([
        '* * * * * echo "tick in $ROOT of $CC_APP_NAME"',
        '* * * * * sleep 100',
        '0 4 * * SUN echo weekly',
      ]),
    });
    const push = await repo.push(await rig.pushUrl('clock'));
    expect(push.code).toBe(0);
    await until('the schedule is known', async () => (await listed('clock'))[0]?.next !== null);
    const [every, , weekly] = await listed('clock');
    expect(every).toMatchObject({ schedule: '* * * * *', last: null });
    expect(new Date(weekly?.next ?? 0).getUTCHours()).toBe(4);

    await until('two minutes passed', async () => (await tasksOf('clock')).length >= 3, 140_000);
    const tasks = await tasksOf('clock');
    const minutes = tasks.filter(({ cron }) => cron === 0).map(({ createdAt }) => createdAt.slice(0, 16));
    expect(new Set(minutes).size).toBe(minutes.length);
    expect(tasks.filter(({ cron }) => cron === 1)).toHaveLength(1);
    expect(tasks.every(({ by }) => by === 'cron')).toBe(true);
    await until('the skipped one is told', async () => (await listed('clock'))[1]?.skippedAt !== null);

    const ticked = tasks.findLast(({ cron }) => cron === 0);
    await until('the tick is over', async () => (await listed('clock'))[0]?.last?.state === 'SUCCEEDED');
    const output = await rig.gantry('tasks', 'logs', String(ticked?.number), '--app', 'clock');
    expect(output.stdout).toBe('tick in / of clock\n');

    // A release without the file has no schedule.
    await repo.git('rm', '-q', '-r', 'clevercloud');
    await repo.commit({ version: 'two' });
    expect((await repo.push(await rig.pushUrl('clock'))).code).toBe(0);
    expect(await listed('clock')).toEqual([]);
    const before = (await tasksOf('clock')).length;
    await until('a minute begins', () => new Date().getUTCSeconds() === 2, 62_000);
    expect(await tasksOf('clock')).toHaveLength(before);
    const { number } = (await tasksOf('clock')).find(({ cron }) => cron === 1) ?? { number: 0 };
    await rig.gantry('tasks', 'cancel', String(number), '--app', 'clock');
  } finally {
    second.kill('SIGTERM');
    await new Promise((resolve) => (second.exitCode === null ? second.once('exit', resolve) : resolve(0)));
  }
}, 300_000);

test('a file that is wrong fails the deployment before anything is built, and the entry is named', async () => {
  await using repo = await appRepository('web', {
    'clevercloud/cron.json': '["0 4 * * * echo fine", "99 * * * * echo odd"]',
  });
  const push = await repo.push(await rig.pushUrl('wrong'));
  expect(push.stderr).toContain(
    'clevercloud/cron.json cannot be used: entry 2 has no valid minute (0-59): "99"',
  );
  expect(push.stderr).not.toContain('Building');
  expect(push.code).toBe(1);
});
