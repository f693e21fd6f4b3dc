import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { probeHookHost } from '../../src/deploy/hook-host.ts';
import { runInSandbox } from '../../src/deploy/hook-sandbox.ts';

// Runs hooks as the worker does, in a process of its own; the commands are its arguments.

const host = await probeHookHost('auto', 'gantry-hook');
if (!('level' in host.choice) || !host.user) throw new Error(JSON.stringify(host));
const { level } = host.choice;
const dataDir = await mkdtemp(join(tmpdir(), 'gantry-box-'));
const results: unknown[] = [];
for (const [number, command] of process.argv.slice(2).entries()) {
  const checkout = join(dataDir, String(number));
  await mkdir(checkout);
  results.push(
    await runInSandbox(
      {
        command,
        checkout,
        folder: checkout,
        env: { PATH: '/usr/bin:/bin' },
        report: async (lines) => console.error(lines.join('\n')),
        signal: new AbortController().signal,
      },
      {
        walls: level.walls,
        cgroup: host.cgroup,
        ...host.user,
        dataDir,
        timeoutMs: 60_000,
        memoryBytes: 64 * 1024 ** 2,
        processes: 32,
      },
    ),
  );
}
console.log(JSON.stringify({ level, results }));
