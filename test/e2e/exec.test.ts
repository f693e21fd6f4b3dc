import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { processesWith } from '../support/processes.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { Terminal } from '../support/terminal.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({
    GANTRY_STOP_TIMEOUT: '2',
    GANTRY_TERMINAL_GRACE: '6',
    GANTRY_DRAIN_TIMEOUT: '2',
    GANTRY_HEALTH_TIMEOUT: '5',
  });
  await using repo = await appRepository('web');
  await rig.setEnv('shop', { PS1: '$? READY> ', COLOUR: 'green' });
  await rig.gantry('scale', '--app', 'shop', '--instances', '2');
  const push = await repo.push(await rig.pushUrl('shop'));
  if (push.code !== 0) throw new Error(push.stderr);
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

const script = (text: string): string[] => ['exec', 'shop', '--', 'sh', '-c', text];

function open(...words: string[]): Terminal {
  return Terminal.open(rig, 100, 30, ...words);
}

/** A command that is found by a number which is not in the arguments of the command line. */
let marks = 98_000;
function longCommand(): { command: string; runs: () => Promise<boolean> } {
  marks += 1;
  const mark = `sleep ${marks}`;
  return {
    command: `sleep $((${marks} - 1 + 1)) & echo begun; wait`,
    runs: async () => (await processesWith(mark.replace(' ', '\0'))).length > 0,
  };
}

describe('gantry exec in a script', () => {
  test('passes both streams and the exit code on, and has the variables of the app', async () => {
    const done = await rig.gantryWith('first\nsecond', ...script('cat; echo "$COLOUR" >&2; exit 5'));
    expect(done).toMatchObject({ stdout: 'first\nsecond', stderr: 'green\n', code: 5 });
    expect(await rig.gantry(...script('echo $$; test ! -t 0 && echo no terminal'))).toMatchObject({
      stdout: expect.stringMatching(/^(?!1\n)\d+\nno terminal\n$/),
      code: 0,
    });
  });

  test('carries megabytes both ways, whole and in order', async () => {
    const text = Array.from({ length: 300_000 }, (_, line) => `line ${line}\n`).join('');
    const done = await rig.gantryWith(text, 'exec', 'shop', '--', 'cat');
    expect(done.stdout.length).toBe(text.length);
    expect(done.stdout === text).toBe(true);
  });

  test('enters the instance that is asked for', async () => {
    const host = async (instance: string) =>
      rig.gantry('exec', '--app', 'shop', '--instance', instance, '--', 'cat', '/etc/hostname');
    const names = await Promise.all([host('0'), host('1')]);
    expect(new Set(names.map(({ stdout }) => stdout)).size).toBe(2);
    const none = await host('2');
    expect(none).toMatchObject({ code: 1, stderr: 'error: shop has no instance 2 that runs, only 0, 1\n' });
    expect((await host('many')).code).toBe(2);
  });

  test('a command that is not there is the error of a shell', async () => {
    const done = await rig.gantry('exec', 'shop', '--', 'no-such-command');
    // Which one is for the engine to say.
    expect([126, 127]).toContain(done.code);
    expect(done.stdout).toContain('exec: "no-such-command": executable file not found');
    // Not what the end of its container looks like.
    expect(await rig.gantry(...script('kill -9 $$'))).toMatchObject({ code: 137, stderr: '' });
    expect((await rig.gantry('exec', 'shop', 'ls')).stderr).toContain(
      'gantry exec [APP] [--instance N] -- COMMAND',
    );
  });

  test('Ctrl-C ends the command as well', async () => {
    const { command, runs } = longCommand();
    const terminal = open('exec', 'shop', '--no-tty', '--', 'sh', '-c', command);
    await terminal.sees('begun');
    await until('it runs', runs);
    terminal.type('\x03');
    expect(await terminal.ended).toBe(130);
    expect(await runs()).toBe(false);
  });

  test('who is killed is waited for, then the command and its children are', async () => {
    const { command, runs } = longCommand();
    const terminal = open('exec', 'shop', '--no-tty', '--', 'sh', '-c', command);
    await terminal.sees('begun');
    await until('it runs', runs);
    process.kill(await terminal.pid(), 'SIGKILL');
    await until('nothing of it runs', async () => !(await runs()));
    expect((await rig.gantry(...script('echo the app is well'))).stdout).toBe('the app is well\n');
  });

  test('is in the list of tasks and in the audit log, without what it said', async () => {
    await rig.gantryWith('correct-horse', ...script('cat'));
    const [last] = JSON.parse((await rig.gantry('tasks', 'list', 'shop', '--json')).stdout);
    expect(last).toMatchObject({ interactive: true, instance: 0, state: 'SUCCEEDED', exitCode: 0 });
    expect((await rig.gantry('tasks', 'logs', String(last.number), '--app', 'shop')).stdout).toBe('');
    const audit = (await rig.gantry('audit', '--app', 'shop', '--json')).stdout;
    expect(JSON.parse(audit)[0]).toMatchObject({
      action: 'exec',
      what: expect.stringContaining('instance=0'),
    });
    expect(audit + (await rig.log())).not.toContain('correct-horse');
  });
});

describe('gantry exec between two terminals', () => {
  test('is a terminal in the container of the app: size, Ctrl-C, exit code', async () => {
    const terminal = open('exec', 'shop', '--', 'sh');
    await terminal.sees('0 READY> ');
    terminal.type('stty size; echo "$TERM"; test -e /app/server.js && echo at home\r');
    await terminal.sees('\n30 100\r\nvt220\r\nat home\r\n');
    await terminal.resize(132, 43);
    let answers = 0;
    await until('the new size arrives', async () => {
      terminal.type('stty size; echo "answer $((++answers))"\r');
      await terminal.sees(`answer ${++answers}\r\n`);
      return terminal.screen.includes('\n43 132\r\n');
    });
    terminal.type('echo waiting; sleep 1000\r');
    await terminal.sees('\nwaiting\r\n');
    terminal.type('\x03');
    await terminal.sees('130 READY> ');
    terminal.type('exit 7\r');
    expect(await terminal.ended).toBe(7);
    expect(terminal.screen).toMatch(/(?<!-)icanon\r\necho \r\n$/);
  });

  test('takes its commands with it when the window is closed', async () => {
    const { command, runs } = longCommand();
    const terminal = open('ssh', 'shop', '--instance', '1');
    await terminal.sees('0 READY> ');
    terminal.type(`${command}\r`);
    await until('it runs', runs);
    await terminal.pid();
    terminal.kill();
    await until('nothing of it runs', async () => !(await runs()), 5000);
    expect(terminal.screen).not.toContain('error');
  });

  test('ends when its worker dies, says so, and nothing of it runs on', async () => {
    const { command, runs } = longCommand();
    const terminal = open('ssh', 'shop', '-c', command);
    await terminal.sees('begun');
    await until('it runs', runs);
    process.kill(await rig.workerPid(), 'SIGKILL');
    expect(await terminal.ended).toBe(1);
    expect(terminal.screen).toContain('its worker was lost; a terminal cannot be taken up again');
    expect(await runs()).toBe(false);
  });

  test('ends when another release takes over, and says so', async () => {
    const terminal = open('ssh', 'shop');
    await terminal.sees('0 READY> ');
    expect((await rig.gantry('restart', '--app', 'shop')).code).toBe(0);
    expect(await terminal.ended).toBe(1);
    expect(terminal.screen).toContain('error: its container is gone: another release took over');
  });
});

test('a container that was kept of a failed deployment can be entered', async () => {
  await using repo = await appRepository('web', {
    Dockerfile: 'FROM gantry-test/base:1\nCOPY version /version\nCMD ["httpd","-f","-p","3000"]\n',
  });
  await rig.setEnv('trouble', { CC_TROUBLESHOOT: 'true' });
  const push = await repo.push(await rig.pushUrl('trouble'));
  expect(push.stderr).toContain('gantry exec trouble --deploy 1 -- sh');
  expect(await rig.gantry('exec', 'trouble', '--', 'true')).toMatchObject({
    code: 5,
    stderr: expect.stringContaining('error: nothing of trouble runs'),
  });
  const inside = await rig.gantry('exec', 'trouble', '--deploy', '1', '--', 'ls', '/version');
  expect(inside).toMatchObject({ code: 0, stdout: '/version\n' });
  expect((await rig.gantry('exec', 'trouble', '--deploy', '2', '--', 'ls')).stderr).toContain(
    'no container of deployment #2 of trouble runs; a failed one is kept for 15 minutes with CC_TROUBLESHOOT=true',
  );
});
