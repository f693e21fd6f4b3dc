import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';
import { resultOf } from '../support/git.ts';

test('npm run demo shows two pushes, both answers and how long each took, and leaves nothing', async () => {
  const { GANTRY_DATA: _, ...env } = process.env;
  // A data folder without a server: the demo must start one of its own.
  const child = spawn(process.execPath, ['dist/cli.js', 'demo'], {
    env: { ...env, GANTRY_DATA: '/nonexistent', GANTRY_PORT: '1' },
    stdio: 'pipe',
  });
  const { code, stdout, stderr } = await resultOf(child);
  expect(code).toBe(0);
  expect(stderr.match(/success: hello-demo v\d is live/g)).toHaveLength(2);
  expect(stdout).toMatch(/<h1>Hello from Gantry, first version/);
  expect(stdout).toMatch(/<h1>Hello again, second version/);
  expect(stdout).toMatch(/first push: \d+\.\ds, second push: \d+\.\ds/);
});
