import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { page, slowStep } from '../support/dockerfiles.ts';
import { gitClient } from '../support/git.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { killAll } from '../support/processes.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { startPush } from '../support/started-push.ts';

const run = promisify(execFile);

/** What a process gets to hear when it has as many files open as it may: EMFILE, from every call that opens one. */
let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '10', GANTRY_STOP_TIMEOUT: '1' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

/** Until it is disposed of, the process can open nothing; what is open stays. */
async function outOfFiles(pid: number): Promise<AsyncDisposable> {
  const limit = async (files: string): Promise<void> => {
    await run('prlimit', ['--pid', String(pid), `--nofile=${files}`]);
  };
  const { stdout } = await run('prlimit', [
    '--pid',
    String(pid),
    '--nofile',
    '--noheadings',
    '--raw',
    '-o',
    'SOFT,HARD',
  ]);
  const before = stdout.trim().replace(/\s+/, ':');
  await limit(`3:${before.split(':')[1]}`);
  return { [Symbol.asyncDispose]: () => limit(before) };
}

async function live(app: string) {
  const repo = await appRepository('page', { version: 'one' });
  const url = await rig.pushUrl(app);
  const push = await repo.push(url);
  if (push.code !== 0) throw new Error(push.stderr);
  return { repo, url };
}

async function body(app: string): Promise<string> {
  return (await rig.request(app)).body;
}

test('the server: it turns everybody away, apps answer, and all goes on by itself afterwards', async () => {
  const { repo, url } = await live('refused');
  await using _ = repo;
  const server = rig.pid;
  const worker = await rig.workerPid();
  await repo.commit({ version: 'two' });
  {
    await using _ = await outOfFiles(server);
    process.kill(worker, 'SIGKILL');
    const tries = Array.from({ length: 5 }, () => gitClient().start(['ls-remote', url]));
    onTestFinished(() => killAll(tries.flatMap(({ pid }) => pid ?? [])));
    await until('it tried to start a worker', async () => /EMFILE/.test(await rig.log()));
    expect(await body('refused')).toBe('one');
  }
  await until(
    'there is a worker',
    async () => ![0, worker].includes(await rig.workerPid().catch(() => 0)),
    10_000,
  );
  const push = await repo.push(url);
  expect(push.stderr).toContain('refused v2 is live');
  expect(await body('refused')).toBe('two');
  expect(rig.pid).toBe(server);
  await expectNothingLeftBehind(rig);
});

test('the server, while a push waits for its deployment: that goes on when it can again', async () => {
  const { repo, url } = await live('streamed');
  await using _ = repo;
  await repo.commit({ version: 'two', Dockerfile: page(slowStep(4)) });
  const push = startPush(repo, url);
  await push.says('half-way');
  {
    await using _ = await outOfFiles(rig.pid);
    await sleep(8000);
    expect(await body('streamed')).toBe('one');
  }
  const end = await push.result;
  expect(end.stderr).toContain('streamed v2 is live');
  expect(end.code).toBe(0);
  expect(await body('streamed')).toBe('two');
  await expectNothingLeftBehind(rig);
});

test('the worker, before a deployment: it fails and says why, and the next one goes live', async () => {
  const { repo, url } = await live('starved');
  await using _ = repo;
  await repo.commit({ version: 'two' });
  {
    await using _ = await outOfFiles(await rig.workerPid());
    const end = await repo.push(url);
    expect(end.code).toBe(1);
    expect(end.stderr).toContain('deploy #2 failed: the server has as many files open as it may');
    expect(end.stderr).toMatch(/hint: on the server: raise that limit/);
    expect(await body('starved')).toBe('one');
  }
  expect((await repo.push(url)).stderr).toContain('starved v3 is live');
  expect(await body('starved')).toBe('two');
  await expectNothingLeftBehind(rig);
});

test('the worker, in the middle of a build: it fails and says why, and the next one goes live', async () => {
  const { repo, url } = await live('half');
  await using _ = repo;
  await repo.commit({ version: 'two', Dockerfile: page(slowStep(4)) });
  const push = startPush(repo, url);
  await push.says('half-way');
  {
    await using _ = await outOfFiles(await rig.workerPid());
    const end = await push.result;
    expect(end.code).toBe(1);
    expect(end.stderr).toMatch(/deploy #2 failed.*: the server has as many files open as it may/);
    expect(end.stderr).toMatch(/hint: on the server: raise that limit/);
  }
  expect((await repo.push(url)).stderr).toContain('half v3 is live');
  expect(await body('half')).toBe('two');
  await expectNothingLeftBehind(rig);
});
