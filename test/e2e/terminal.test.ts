import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Line } from '../support/line.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { shownTask, taskContainers } from '../support/tasks.ts';
import { Terminal } from '../support/terminal.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_STOP_TIMEOUT: '2', GANTRY_TERMINAL_GRACE: '6' });
  await using repo = await appRepository('web');
  await rig.setEnv('tools', { PS1: '$? READY> ' });
  const push = await repo.push(await rig.pushUrl('tools'));
  if (push.code !== 0) throw new Error(push.stderr);
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

/** `gantry run` in a terminal of 100 by 30. */
function run(...command: string[]): Terminal {
  return Terminal.open(rig, 100, 30, 'run', 'tools', '--', ...command);
}

const task = (number: number) => shownTask(rig, 'tools', number);

function numberOf(terminal: Terminal): number {
  return Number(/^task (\d+)\r?$/m.exec(terminal.screen)?.[1]);
}

/** What `stty` says after the command line has ended. */
const wasRestored = /(?<!-)icanon\r\necho \r\n$/;

describe('gantry run between two terminals', () => {
  test('is a shell of its own: echo, size, Ctrl-C, exit code', async () => {
    const terminal = run('sh');
    await terminal.sees('0 READY> ');
    terminal.type('echo "got $((6 * 7))" "$TERM" "[$(tty)]"\r');
    await terminal.sees('got 42 vt220 [/dev/pts/0]\r\n');
    expect(terminal.screen).toContain('echo "got $((6 * 7))" "$TERM" "[$(tty)]"\r\n');

    let answers = 0;
    terminal.type('stty size\r');
    await terminal.sees('\n30 100\r\n');
    await terminal.resize(132, 43);
    await until('the new size arrives', async () => {
      terminal.type('stty size; echo "answer $((++answers))"\r');
      await terminal.sees(`answer ${++answers}\r\n`);
      return terminal.screen.includes('\n43 132\r\n');
    });

    terminal.type('echo waiting; sleep 1000\r');
    await terminal.sees('\nwaiting\r\n');
    terminal.type('\x03');
    await terminal.sees('130 READY> ');
    terminal.type('echo still here\r');
    await terminal.sees('\nstill here\r\n');

    terminal.type('exit 7\r');
    expect(await terminal.ended).toBe(7);
    expect(terminal.screen).toMatch(wasRestored);
    expect(await taskContainers(rig)).toEqual([]);
    expect(await task(numberOf(terminal))).toMatchObject({ state: 'FAILED', exitCode: 7, interactive: true });
  });

  test('Ctrl-D ends a shell', async () => {
    const terminal = run('sh');
    await terminal.sees('0 READY> ');
    terminal.type('\x04');
    expect(await terminal.ended).toBe(0);
    expect(terminal.screen).toMatch(wasRestored);
  });

  test('10 MB arrive whole and in order', async () => {
    const script = 'stty -opost; seq 1 1400000';
    const terminal = run('sh', '-c', script);
    expect(await terminal.ended).toBe(0);
    const expected = Array.from({ length: 1_400_000 }, (_, index) => `${index + 1}\n`).join('');
    const shown = terminal.screen;
    const start = shown.indexOf('\n1\n2\n') + 1;
    const output = shown.slice(start, start + expected.length);
    expect(expected.length).toBeGreaterThan(9_900_000);
    expect(digest(output)).toBe(digest(expected));
  });

  test('a client that vanishes is waited for, then its command is stopped', async () => {
    const terminal = run('sh');
    await terminal.sees('0 READY> ');
    const number = numberOf(terminal);
    process.kill(await terminal.pid(), 'SIGKILL');
    await terminal.ended;
    expect(await taskContainers(rig)).toEqual([`${number} running`]);
    await until('it is over', async () => (await task(number)).state === 'FAILED');
    expect((await task(number)).reason).toBe('its terminal was not heard of for 6 s, so it was stopped');
    expect(await taskContainers(rig)).toEqual([]);
  });

  test('a client that is told to end takes the command with it and leaves the terminal as it was', async () => {
    const terminal = run('sh');
    await terminal.sees('0 READY> ');
    const number = numberOf(terminal);
    process.kill(await terminal.pid(), 'SIGTERM');
    expect(await terminal.ended).toBe(143);
    expect(terminal.screen).toMatch(wasRestored);
    await until('it is over', async () => (await task(number)).state === 'FAILED', 4000);
    expect(await taskContainers(rig)).toEqual([]);
  });

  test('a window that is closed takes the command with it at once', async () => {
    const terminal = run('sh');
    await terminal.sees('0 READY> ');
    const number = numberOf(terminal);
    terminal.type('yes\r');
    await terminal.sees('y\r\ny\r\n');
    const pid = await terminal.pid();
    terminal.kill();
    await until('the command line ends', () => !existsSync(`/proc/${pid}`));
    await until('it is over', async () => (await task(number)).state === 'FAILED', 4000);
    expect(await task(number)).toMatchObject({ reason: 'cancelled' });
    expect(await taskContainers(rig)).toEqual([]);
  });

  test('can be cancelled from elsewhere', async () => {
    const terminal = run('sh');
    await terminal.sees('0 READY> ');
    const number = numberOf(terminal);
    await rig.gantry('tasks', 'cancel', String(number), '--app', 'tools');
    expect(await terminal.ended).toBe(1);
    expect(terminal.screen).toContain('error: cancelled');
    expect(terminal.screen).toMatch(wasRestored);
    expect(await task(number)).toMatchObject({ exitCode: null, reason: 'cancelled' });
    expect(await taskContainers(rig)).toEqual([]);
  });

  test('ends when its worker dies, says so, and nothing is left', async () => {
    const terminal = run('sh');
    await terminal.sees('0 READY> ');
    process.kill(await rig.workerPid(), 'SIGKILL');
    expect(await terminal.ended).toBe(1);
    expect(terminal.screen).toContain('nothing is heard of the command any more');
    expect(terminal.screen).toContain('error: its worker was lost; a terminal cannot be taken up again');
    expect(terminal.screen).toMatch(wasRestored);
    expect(await taskContainers(rig)).toEqual([]);
  });

  test('goes on where it was when the line is cut, and nothing is lost', async () => {
    using line = await Line.to(rig.port);
    const url = `http://127.0.0.1:${line.port}`;
    const terminal = Terminal.openAt(rig, url, 100, 30, 'run', 'tools', '--', 'sh');
    await terminal.sees('0 READY> ');
    terminal.type('stty -echo; n=0; while [ $n -lt 40 ]; do n=$((n+1)); echo "tick $n"; sleep 0.1; done\r');
    await terminal.sees('\ntick 1\r\n');
    line.cut();
    await terminal.sees('the connection to the server is lost; waiting for it to come back');
    line.mend();
    await terminal.sees('it is back');
    await terminal.sees('\ntick 40\r\n');
    const ticks = Array.from({ length: 40 }, (_, index) => String(index + 1));
    expect(Array.from(terminal.screen.matchAll(/tick (\d+)\r\n/g), ([, tick]) => tick)).toEqual(ticks);
    terminal.type('exit 5\r');
    expect(await terminal.ended).toBe(5);
    expect(terminal.screen).toMatch(wasRestored);
  });

  test('leaves with Ctrl-C when the line stays cut, and says how to cancel', async () => {
    using line = await Line.to(rig.port);
    const terminal = Terminal.openAt(
      rig,
      `http://127.0.0.1:${line.port}`,
      100,
      30,
      'run',
      'tools',
      '--',
      'sh',
    );
    await terminal.sees('0 READY> ');
    line.cut();
    await terminal.sees('Ctrl-C to leave');
    terminal.type('\x03');
    expect(await terminal.ended).toBe(8);
    expect(terminal.screen).toContain(`gantry tasks cancel ${numberOf(terminal)} --app tools`);
    expect(terminal.screen).toMatch(wasRestored);
    await until('it is over', async () => (await task(numberOf(terminal))).state === 'FAILED');
    expect(await taskContainers(rig)).toEqual([]);
  });

  test('goes on when Redis is killed', async () => {
    const terminal = run('sh');
    await terminal.sees('0 READY> ');
    process.kill(await rig.redisPid(), 'SIGKILL');
    terminal.type('echo "after $((40 + 2))"\r');
    await terminal.sees('\nafter 42\r\n');
    terminal.type('exit 6\r');
    expect(await terminal.ended).toBe(6);
    expect(terminal.screen).toMatch(wasRestored);
  });

  test('ends with a restart of Gantry, and says so', async () => {
    const terminal = run('sh');
    await terminal.sees('0 READY> ');
    await rig.stop();
    expect(await taskContainers(rig)).toEqual([]);
    await rig.start();
    expect(await terminal.ended).toBe(1);
    expect(terminal.screen).toContain('error: Gantry was stopped; a terminal cannot be taken up again');
    expect(terminal.screen).toMatch(wasRestored);
  });

  test('that hears of its end when nobody can be asked how any more waits for the server', async () => {
    const terminal = run('sh');
    await terminal.sees('0 READY> ');
    const pid = await terminal.pid();
    process.kill(pid, 'SIGSTOP');
    await rig.stop();
    process.kill(pid, 'SIGCONT');
    await rig.start();
    expect(await terminal.ended).toBe(1);
    expect(terminal.screen).toContain('error: Gantry was stopped; a terminal cannot be taken up again');
  });

  test('is nobody else’s to see or to type in', async () => {
    const terminal = run('sh');
    await terminal.sees('0 READY> ');
    const path = `http://127.0.0.1:${rig.port}/api/v1/apps/tools/tasks/${numberOf(terminal)}/terminal`;
    const authorization = `Bearer ${await rig.createToken('admin', ['admin'])}`;
    const body = JSON.stringify({ first: 1, parts: [{ input: 'aWQK' }], received: 0, handled: 0 });
    const typed = await fetch(path, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body,
    });
    const watched = await fetch(path, { headers: { authorization } });
    expect([typed.status, watched.status]).toEqual([403, 403]);
    terminal.type('exit\r');
    expect(await terminal.ended).toBe(0);
  });

  test('takes a lot of input, typed ahead', async () => {
    const terminal = run('sh', '-c', 'stty -echo; echo ready; head -n 20000 | md5sum');
    await terminal.sees('ready');
    const lines = Array.from({ length: 20_000 }, (_, index) => `line ${index} of what was pasted\n`).join('');
    terminal.type(lines);
    await terminal.sees(createHash('md5').update(lines).digest('hex'));
    expect(await terminal.ended).toBe(0);
  });

  test('what is typed and shown is in no log', async () => {
    const terminal = run('sh');
    await terminal.sees('0 READY> ');
    const passing: string[] = [];
    const redis = new Redis({ path: join(rig.dataDir, 'redis/redis.sock') });
    redis.on('pmessage', (_pattern, _channel, message: string) => passing.push(message));
    await redis.psubscribe('gantry:terminal:*');
    terminal.type('read -s -r password; echo "read ${#password}"\r');
    await terminal.sees('[6n');
    terminal.type('correct-horse-battery\r');
    await terminal.sees('\nread 21\r\n');
    terminal.type('exit\r');
    await terminal.ended;
    const logs = await rig.gantry('tasks', 'logs', String(numberOf(terminal)), '--app', 'tools');
    expect(logs.stderr).toContain('the task has a terminal of admin; what that shows is not kept');
    expect(logs.stdout).toBe('');
    const folder = join(rig.dataDir, 'redis');
    const files = await readdir(folder, { recursive: true, withFileTypes: true });
    const stored = files
      .filter((file) => file.isFile())
      .map((file) => readFileSync(join(file.path, file.name)));
    expect(stored.length).toBeGreaterThan(0);
    for (const word of [
      'correct-horse',
      Buffer.from('correct-horse-battery').toString('base64'),
      ':person',
      ':command',
    ])
      expect(stored.some((bytes) => bytes.includes(word))).toBe(false);
    expect(await rig.log()).not.toContain('correct-horse');
    redis.disconnect();
    expect(passing.length).toBeGreaterThan(4);
    expect(passing.filter((message) => !/^v1\.\w+\.[\w-]+$/.test(message))).toEqual([]);
  });

  test('a command that is not there is named', async () => {
    const terminal = run('no-such-command');
    expect(await terminal.ended).toBe(1);
    expect(terminal.screen).toContain('error: cannot start "no-such-command": it is not in the image');
  });

  test('is as in a script when asked to be, or detached', async () => {
    const plain = Terminal.open(rig, 100, 30, 'run', '--no-tty', 'tools', '--', 'sh', '-c', 'tty; exit 3');
    expect(await plain.ended).toBe(3);
    expect(plain.screen).toContain('not a tty');
    const detached = Terminal.open(rig, 100, 30, 'run', '--detach', 'tools', '--', 'tty');
    expect(await detached.ended).toBe(0);
    const number = numberOf(detached);
    await until('it is over', async () => (await task(number)).endedAt !== null);
    expect(await task(number)).toMatchObject({ interactive: false, exitCode: 1 });
  });
});

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
