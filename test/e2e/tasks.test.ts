import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { appRepository, Rig, until } from '../support/rig.ts';
import { shownTask, taskContainers } from '../support/tasks.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_STOP_TIMEOUT: '2' });
  await using repo = await appRepository('web');
  await rig.setEnv('tools', { COLOUR: 'green', SECRET: 'correct-horse-battery' });
  const push = await repo.push(await rig.pushUrl('tools'));
  if (push.code !== 0) throw new Error(push.stderr);
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

const sh = (script: string, ...options: string[]): string[] => [
  'run',
  '--app',
  'tools',
  ...options,
  '--',
  'sh',
  '-c',
  script,
];

const task = (number: number) => shownTask(rig, 'tools', number);

describe('gantry run', () => {
  test('passes output and exit code on, with the variables of the app and without a port', async () => {
    const done = await rig.gantry(
      ...sh('echo "$COLOUR in $CC_APP_NAME, port [$PORT]"; echo oops >&2; cat /app/version; exit 3'),
    );
    expect(done.stdout.split('\n').filter(Boolean).sort()).toEqual([
      'green in tools, port []',
      'one',
      'oops',
    ]);
    expect(done.code).toBe(3);
    const masked = await rig.gantry('run', 'tools', '--', 'sh', '-c', 'echo "$SECRET"');
    expect(masked.stdout).toBe('(hidden)\n');
    expect(masked.code).toBe(0);
    expect(await taskContainers(rig)).toEqual([]);
    expect((await rig.request('tools')).body).toBe('one');
  });

  test('feeds the command what it is given, byte for byte', async () => {
    const input = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 256));
    const counted = await rig.gantryWith(input, ...sh('md5sum; echo end'));
    const { createHash } = await import('node:crypto');
    expect(counted.stdout).toContain(createHash('md5').update(input).digest('hex'));
    expect(counted.stdout).toContain('end');
    const tooMuch = await rig.gantryWith(Buffer.alloc(1024 ** 2 + 1), ...sh('cat'));
    expect(tooMuch.stderr).toContain('larger than 1 MiB');
    expect(tooMuch.code).toBe(2);
  });

  test('says every few seconds that it is there while the command is silent', async () => {
    const detached = await rig.gantry(...sh('sleep 1000', '--detach'));
    const number = /\d+/.exec(detached.stdout)?.[0] ?? '';
    const running = rig.gantry('tasks', 'logs', number, '--app', 'tools');
    const response = await fetch(`http://127.0.0.1:${rig.port}/api/v1/apps/tools/tasks/${number}/logs`, {
      headers: { authorization: `Bearer ${await rig.token}` },
    });
    let heard = '';
    const ended = (async () => {
      for await (const chunk of response.body ?? []) heard += Buffer.from(chunk as Uint8Array).toString();
    })();
    await until('it says so', () => heard !== '');
    await rig.gantry('tasks', 'cancel', number, '--app', 'tools');
    await ended;
    expect(heard).toMatch(/^\n+\{.*"end":"FAILED"\}\n$/);
    expect(await running).toMatchObject({ code: 0, stdout: '', stderr: '' });
  });

  test('explains what cannot be run', async () => {
    const missing = await rig.gantry('run', '--app', 'tools', '--', 'no-such-command', '--flag');
    expect(missing.stderr).toContain('cannot start "no-such-command": it is not in the image');
    expect(missing.code).toBe(1);
    const odd = await rig.gantry('run', 'tools', '--verbose', '--', 'true');
    expect(odd.stderr).toContain('what is --verbose? gantry run [options] [APP] -- COMMAND');
    expect(odd.code).toBe(2);
    await rig.setEnv('empty', {});
    const empty = await rig.gantry('run', '--app', 'empty', '--', 'true');
    expect(empty.stderr).toContain('empty has no live release to run it in');
    expect(empty.code).not.toBe(0);
  });

  test('stops the container when it is cancelled, and says so', async () => {
    const detached = await rig.gantry(...sh('trap "" TERM; echo began; sleep 1000', '--detach'));
    const number = Number(/^task (\d+)\n$/.exec(detached.stdout)?.[1]);
    await until('it runs', async () => (await taskContainers(rig)).includes(`${number} running`));
    expect(await task(number)).toMatchObject({ state: 'RUNNING', by: 'admin' });
    await rig.gantry('tasks', 'cancel', String(number), '--app', 'tools');
    await until('it is over', async () => (await task(number)).state === 'FAILED');
    expect(await task(number)).toMatchObject({ exitCode: null, reason: 'cancelled' });
    expect(await taskContainers(rig)).toEqual([]);
    const logs = await rig.gantry('tasks', 'logs', String(number), '--app', 'tools');
    expect(logs.stdout).toBe('began\n');
    const listed = await rig.gantry('tasks', '--app', 'tools');
    expect(listed.stdout).toMatch(new RegExp(`^${number} +FAILED +cancelled`, 'm'));
  });

  test('goes on when its worker dies, once, and nothing is left behind', async () => {
    const running = rig.gantry(...sh('echo $$-began; sleep 25; echo ended; exit 4'));
    await until('it runs', async () => (await taskContainers(rig)).some((line) => line.endsWith('running')));
    process.kill(await rig.workerPid(), 'SIGKILL');
    const done = await running;
    expect(done.code).toBe(4);
    expect(done.stdout).toContain('ended');
    expect(new Set(done.stdout.match(/\d+-began/g)).size).toBe(1);
    await until('nothing is left', async () => (await taskContainers(rig)).length === 0);
  });

  test('goes on over a restart of Gantry', async () => {
    const detached = await rig.gantry(...sh('sleep 6; echo slept', '--detach'));
    const number = Number(/\d+/.exec(detached.stdout)?.[0]);
    await until('it runs', async () => (await taskContainers(rig)).includes(`${number} running`));
    await rig.stop();
    expect(await taskContainers(rig)).toEqual([`${number} running`]);
    await rig.start();
    await until('it is over', async () => (await task(number)).state === 'SUCCEEDED');
    const logs = await rig.gantry('tasks', 'logs', String(number), '--app', 'tools');
    expect(logs.stdout).toContain('slept');
  });
});
