import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Registry, startRegistry } from '../support/registry.ts';
import { publish, serving } from '../support/registry-images.ts';
import { Rig, until } from '../support/rig.ts';

let rig: Rig;
let registry: Registry;
beforeAll(async () => {
  registry = await startRegistry({ isOpen: true });
  rig = await Rig.start({ GANTRY_STOP_TIMEOUT: '2' });
  const config = { Cmd: serving(9090), ExposedPorts: { '9090/tcp': {} }, User: '65534', WorkingDir: '/www' };
  await publish(registry.host, 'shop:1', { config });
  await rig.setEnv('shop', { COLOUR: 'green' });
  const deployed = await rig.gantry('deploy', 'shop', '--image', `${registry.host}/shop:1`);
  if (deployed.code !== 0) throw new Error(deployed.stdout + deployed.stderr);
  // From here on nothing needs it.
  await registry.stop();
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

const runTask = (...options: string[]) => rig.gantry('run-task', 'shop', ...options);

async function stateOf(number: number): Promise<Record<string, unknown>> {
  const { stdout } = await rig.gantry('task', 'shop', String(number), '--json');
  return JSON.parse(stdout) as Record<string, unknown>;
}

test('a task of an image runs with the variables of the app, without PORT, in memory of its own', async () => {
  const memory = 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null';
  const command = `echo "$COLOUR [$PORT] $(id -u) $PWD"; ${memory}; exit 3`;
  const run = await runTask('--command', command, '--name', 'migrate', '--memory', '32M', '--wait');
  expect(run.stdout).toMatch(/^green \[\] 65534 \/www\n33554432\n/);
  expect(run.stderr).toMatch(/task 1 FAILED/);
  expect(run.code).toBe(3);
  expect(await stateOf(1)).toMatchObject({
    state: 'FAILED',
    name: 'migrate',
    memory: 32 * 1024 ** 2,
    exitCode: 3,
  });
});

test('a task runs on its own unless it is waited for, and is listed by its name', async () => {
  const run = await runTask('-c', 'echo done', '--name', 'quick');
  expect(run.stdout).toBe('task 2\n');
  await until('it has ended', async () => (await stateOf(2)).state === 'SUCCEEDED');
  expect((await rig.gantry('tasks', 'shop')).stdout).toMatch(
    /2 +SUCCEEDED +0 +quick[^]*1 +FAILED +3 +migrate/,
  );
  expect((await rig.gantry('tasks', 'logs', '2', '--app', 'shop')).stdout).toBe('done\n');
});

test('a task that never ends is terminated', async () => {
  expect((await runTask('--command', 'while true; do sleep 1; done')).code).toBe(0);
  await until('it runs', async () => (await stateOf(3)).state === 'RUNNING');
  expect((await rig.gantry('terminate-task', 'shop', '3')).stderr).toMatch(/asked to stop/);
  await until('it has ended', async () => (await stateOf(3)).state === 'FAILED');
  expect(await stateOf(3)).toMatchObject({ reason: 'cancelled', exitCode: null });
  expect((await rig.gantry('terminate-task', 'shop', '3')).stderr).toMatch(/is over/);
});

test.each([
  [['--command', 'true', '--memory', '1'], /no size of a memory/],
  [['--command', 'true', '--name', 'a b'], /the name of a task has/],
  [[], /--command/],
])('%j is refused', async (options, reason) => {
  const run = await runTask(...options);
  expect(run.stderr).toMatch(reason);
  expect(run.code).not.toBe(0);
});
