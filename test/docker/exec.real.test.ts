import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EngineClient } from '../../src/docker/engine-client.ts';
import { execMarker, killFromInside } from '../../src/docker/kill-exec.ts';
import { EngineRun, processesRunning, until } from './engine-run.ts';

let run: EngineRun;
let container: string;
const never = new AbortController().signal;

beforeAll(async () => {
  run = await EngineRun.start();
  container = await run.start('sleep 1000', { env: { COLOUR: 'green' } });
});

afterAll(async () => {
  await run?.[Symbol.asyncDispose]();
});

async function exec(command: string, timeoutMs = 20_000, signal = never) {
  const lines: string[] = [];
  const report = async (line: string): Promise<void> => {
    lines.push(line);
  };
  const { exitCode } = await run.engine.exec(container, command, report, { timeoutMs, signal });
  return { exitCode, lines };
}

it('runs a command with the environment of the app and tells its exit code', async () => {
  const { exitCode, lines } = await exec('echo "$COLOUR"; echo grüße >&2; printf end; exit 7');
  expect(exitCode).toBe(7);
  expect(lines.toSorted()).toEqual(['end', 'green', 'grüße']);
  expect(await exec('true')).toEqual({ exitCode: 0, lines: [] });
});

it('passes on a line while the command still runs', async () => {
  const command = `sleep ${unique()}`;
  const { exitCode } = await run.engine.exec(
    container,
    `echo ready; ${command}; exit 0`,
    // The command sleeps for ever unless its line gets here while it runs.
    async (line) => {
      if (line !== 'ready') return;
      const [pid = 0] = await until('the command', async () => await running(command));
      process.kill(pid, 'SIGKILL');
    },
    { timeoutMs: 60_000, signal: never },
  );
  expect(exitCode).toBe(0);
});

it('kills the command and its children when the time is up', async () => {
  const [child, detached] = [`sleep ${unique()}`, `sleep ${unique()}`];
  const { exitCode, lines } = await exec(
    `echo begun; setsid ${detached} & trap "" TERM; ${child}; echo never`,
    1_500,
  );
  expect(exitCode).toBe('timed out');
  expect(lines).toEqual(['begun']);
  await until('all to be gone', async () => !(await running(child)) && !(await running(detached)));
});

it('kills the command and rejects with the reason when it is aborted', async () => {
  const command = `sleep ${unique()}`;
  const controller = new AbortController();
  const done = exec(`${command}; true`, 60_000, controller.signal);
  done.catch(() => undefined);
  await until('the command', async () => await running(command));
  controller.abort(new Error('deployment cancelled'));
  await expect(done).rejects.toThrow('deployment cancelled');
  await until('it to be gone', async () => !(await running(command)));
});

it('does not wait for what the command leaves behind on purpose', async () => {
  const command = `sleep ${unique()}`;
  const { exitCode } = await exec(`${command} >/dev/null 2>&1 & echo started`);
  expect(exitCode).toBe(0);
  expect(await running(command)).toBeTruthy();
});

it('can kill a command from inside the container, for when our /proc does not show it', async () => {
  const [command, other] = [`sleep ${unique()}`, `sleep ${unique()}`];
  await exec(`${other} >/dev/null 2>&1 &`);
  const started = await run.docker
    .getContainer(container)
    .exec({ Cmd: ['sh', '-c', `${command}; true`], Env: [`${execMarker}=${run.id}`] });
  await started.start({ Detach: true });
  await until('the command', async () => await running(command));
  await killFromInside(new EngineClient(), container, run.id);
  await until('it to be gone', async () => !(await running(command)));
  expect(await running(other)).toBeTruthy();
});

async function running(command: string): Promise<number[] | undefined> {
  const pids = await processesRunning(command);
  return pids.length > 0 ? pids : undefined;
}

/** Seconds that nobody else sleeps. */
function unique(): number {
  return randomInt(10_000_000, 99_999_999);
}
