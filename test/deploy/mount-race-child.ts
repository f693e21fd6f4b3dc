import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { runInSandbox } from '../../src/deploy/hook-sandbox.ts';

// Runs hooks while mounts come and go, as those of containers do; prints what became of each. Its argument is a folder for
// that. It is to be started in a mount namespace of its own, and shares what is mounted there, as most machines do.

const run = promisify(execFile);
const [folder = ''] = process.argv.slice(2);
const checkout = join(folder, 'checkout');
const dataDir = join(folder, 'data');
const many = join(folder, 'many');
const mounted = join(folder, 'mounted');
for (const made of [checkout, dataDir, many, mounted]) await mkdir(made);
await run('mount', ['--make-rshared', '/']);

// Many at once, each of which may be the one.
for (let number = 0; number < 20; number += 1) {
  const place = join(many, String(number));
  await mkdir(place);
  await run('mount', ['-t', 'tmpfs', 'tmpfs', place]);
}
let isOver = false;
const churn = (async () => {
  while (!isOver) {
    await run('mount', ['--rbind', many, mounted]);
    await run('umount', ['--recursive', mounted]).catch(() => {}); // busy
  }
})();
const results = new Set<string>();
async function runSome(): Promise<void> {
  for (let number = 0; number < 50; number += 1) {
    const result = await runInSandbox(
      {
        command: 'exit 7',
        checkout,
        folder: checkout,
        env: {},
        report: async () => {},
        signal: new AbortController().signal,
      },
      {
        walls: 'bubblewrap',
        cgroup: undefined,
        uid: 65534,
        gid: 65534,
        dataDir,
        timeoutMs: 20_000,
        memoryBytes: 64 * 1024 ** 2,
        processes: 256,
      },
    );
    results.add(result.kind === 'refused' ? result.reason : result.kind);
  }
}
await Promise.all([1, 2, 3, 4, 5, 6].map(runSome));
isOver = true;
await churn;
console.log(JSON.stringify([...results]));
