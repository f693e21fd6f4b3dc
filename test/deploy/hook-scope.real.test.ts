import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startSystemd } from '../support/systemd.ts';

const child = fileURLToPath(new URL('./hook-scope-child.ts', import.meta.url));

let systemd: Awaited<ReturnType<typeof startSystemd>>;
beforeAll(async () => {
  systemd = await startSystemd();
});
afterAll(() => systemd[Symbol.asyncDispose]());

async function hooks(...commands: string[]) {
  return systemd.inside(process.execPath, '--import', 'tsx', child, ...commands);
}

const memoryHog = 'perl -e \'my $text = "x" x (200 * 1024 ** 2); sleep 60\'';
const forkBomb = 'bomb() { bomb | bomb & }; bomb; sleep 2';

test('where systemd runs, the limits of hooks are those of a scope it gave us, which ends with us', async () => {
  const [program, ...args] = await hooks('exit 7', memoryHog, forkBomb);
  const { stdout } = await promisify(execFile)(program, args, { timeout: 60_000 });
  expect(JSON.parse(stdout)).toMatchObject({
    level: { limits: expect.stringMatching(/^cgroup v[12] in a systemd scope$/) as string },
    results: [{ kind: 'exited', code: 7 }, { reached: ['memory'] }, { reached: ['processes'] }],
  });
  await expect.poll(() => systemd.scopes(), { timeout: 10_000 }).toBe('');
});

test('a worker that is killed leaves no process and no scope', async () => {
  const [program, ...args] = await hooks('echo begun; trap "" TERM; sleep 4711');
  const worker = spawn(program, args, { stdio: ['ignore', 'inherit', 'pipe'] });
  const [line] = (await once(createInterface(worker.stderr), 'line')) as unknown[];
  expect(line).toBe('begun');
  expect(await systemd.scopes()).toMatch(/^gantry-hooks-\d+\.scope/);
  expect(await systemd.run('ps', '-eo', 'args')).toContain('sleep 4711');

  worker.kill('SIGKILL');
  await expect.poll(() => systemd.run('ps', '-eo', 'args'), { timeout: 10_000 }).not.toContain('sleep 4711');
  await expect.poll(() => systemd.scopes(), { timeout: 10_000 }).toBe('');
});
