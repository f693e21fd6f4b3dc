import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';

const child = fileURLToPath(new URL('./mount-race-child.ts', import.meta.url));

test('a hook runs whatever is mounted and unmounted while its sandbox is made', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gantry-mounts-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const node = [process.execPath, '--import', 'tsx', child, folder];
  const options = { timeout: 60_000 };
  const ran = await promisify(execFile)('unshare', ['--mount', '--propagation', 'shared', ...node], options);
  expect(JSON.parse(ran.stdout)).toEqual(['exited']);
}, 60_000);
