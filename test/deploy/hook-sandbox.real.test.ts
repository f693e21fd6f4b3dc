import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type CgroupPlace, findCgroupPlace } from '../../src/deploy/hook-cgroup.ts';
import { type HookResult, runInSandbox } from '../../src/deploy/hook-sandbox.ts';
import type { Walls } from '../../src/deploy/sandbox-level.ts';

const nobody = { uid: 65534, gid: 65534 };
let dataDir: string;
let checkout: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'gantry-box-'));
  checkout = join(dataDir, 'work/app/1');
  await mkdir(checkout, { recursive: true });
  await writeFile(join(dataDir, 'admin-token'), 'the-token');
  await writeFile(join(checkout, 'file'), 'from the repository\n');
  await chmod(dataDir, 0o700);
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

const megabyte = 1024 ** 2;
const cgroups = await findCgroupPlace();
let walls: Walls = 'unshare';
let cgroup: CgroupPlace | undefined;

type Options = { timeoutMs?: number; signal?: AbortSignal; memoryBytes?: number; processes?: number };

async function run(
  command: string,
  env: Record<string, string> = {},
  options: Options = {},
): Promise<{ result: HookResult; lines: string[] }> {
  const lines: string[] = [];
  const result = await runInSandbox(
    {
      command,
      checkout,
      folder: checkout,
      env: { PATH: '/usr/bin:/bin:/usr/sbin', ...env },
      report: async (more) => void lines.push(...more),
      signal: options.signal ?? new AbortController().signal,
    },
    {
      ...nobody,
      walls,
      cgroup,
      dataDir,
      dockerSocket: '/run/docker.sock',
      timeoutMs: options.timeoutMs ?? 10_000,
      memoryBytes: options.memoryBytes ?? 512 * megabyte,
      processes: options.processes ?? 256,
    },
  );
  return { result, lines };
}

async function isRunning(mark: string): Promise<boolean> {
  for (const entry of await readdir('/proc')) {
    const command = await readFile(`/proc/${entry}/cmdline`, 'latin1').catch(() => '');
    if (/^\d+$/.test(entry) && command.includes(mark)) return true;
  }
  return false;
}

describe.each([
  { walls: 'bubblewrap', limits: 'cgroup' },
  { walls: 'unshare', limits: 'cgroup' },
  { walls: 'unshare', limits: 'per process' },
] as const)('a hook in $walls with limits by $limits', (level) => {
  beforeEach(() => {
    walls = level.walls;
    cgroup = level.limits === 'cgroup' ? cgroups : undefined;
    if (level.limits === 'cgroup' && !cgroups) throw new Error('this machine does not let us make cgroups');
  });

  test('runs in the checkout and may change it', async () => {
    const { result, lines } = await run('cat file; pwd; echo made > made; echo to-stderr >&2');
    expect(result).toEqual({ kind: 'exited', code: 0 });
    expect(lines.sort()).toEqual([checkout, 'from the repository', 'to-stderr'].sort());
    expect(await readFile(join(checkout, 'made'), 'utf8')).toBe('made\n');
  });

  test('has no privilege, no capability and cannot get one back', async () => {
    const { lines } = await run('id -u; id -G; grep -E "CapEff|CapBnd|NoNewPrivs" /proc/self/status');
    expect(lines).toEqual([
      '65534',
      '65534',
      'CapEff:\t0000000000000000',
      'CapBnd:\t0000000000000000',
      'NoNewPrivs:\t1',
    ]);
  });

  test('sees neither the data folder, nor other processes, nor the machine’s /tmp', async () => {
    const mark = `${Date.now()}`;
    await writeFile(join(tmpdir(), `gantry-mark-${mark}`), '');
    const { lines } = await run(
      `cat ${dataDir}/admin-token; ls ${dataDir}/work/app; ls /tmp; ls /proc | grep -c '^[0-9]'; cat /proc/1/environ 2>/dev/null | tr '\\0' '\\n' | grep -c GANTRY`,
    );
    await rm(join(tmpdir(), `gantry-mark-${mark}`));
    expect(lines.join('\n')).not.toContain('the-token');
    expect(lines.join('\n')).not.toContain(mark);
    expect(lines).toContain('1');
    expect(Number(lines.at(-2))).toBeLessThan(8);
    expect(lines.at(-1)).toBe('0');
  });

  test('has exactly the variables it was given, byte for byte', async () => {
    const env = {
      A: 'line 1\nline 2\n',
      B: `'"\`$(id) \\ %`,
      C: '世界 🚀',
      D: '',
      LARGE: 'x'.repeat(100_000),
      i: '1',
    };
    const { lines } = await run('env -0 | base64 -w0', env);
    const seen = Buffer.from(lines.join(''), 'base64').toString().split('\0').filter(Boolean);
    const got = Object.fromEntries(
      seen.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
    );
    expect(got).toMatchObject(env);
    expect(
      Object.keys(got)
        .filter((name) => !(name in env))
        .sort(),
    ).toEqual(expect.arrayContaining(['PATH', 'PWD']));
    expect(Object.keys(got).join()).not.toContain('GANTRY');
  });

  test('gets variables whose names a launcher would trip over', async () => {
    const env = { PS4: '$(touch made)', GANTRY_0: 'mine', GANTRY_PERL: 'mine', PERL5OPT: '-Mnone' };
    const { result, lines } = await run('/usr/bin/env; /bin/ls', env);
    expect(result).toEqual({ kind: 'exited', code: 0 });
    for (const [name, value] of Object.entries(env)) expect(lines).toContain(`${name}=${value}`);
    expect(lines).not.toContain('made');
  });

  test.each([
    ['LD_PRELOAD', '/nowhere/evil.so'],
    ['PATH', '/nowhere'],
    ['BASH_ENV', '/nowhere/evil.sh'],
    ['ENV', '/nowhere/evil.sh'],
  ])('cannot reach anything privileged with %s', async (name, value) => {
    const { result, lines } = await run('echo still-here', { [name]: value });
    expect(result).toEqual({ kind: 'exited', code: 0 });
    expect(lines).toContain('still-here');
    // The dynamic linker complains once per program it starts: only the hook's own shell may have been one.
    expect(lines.filter((line) => line.includes('evil.so')).length).toBeLessThanOrEqual(1);
  });

  test('leaves nothing running, however it tries', async () => {
    await run(
      '(setsid sleep 98761 &); (nohup sleep 98762 >/dev/null 2>&1 &); sh -c "sleep 98763 &" ; exit 0',
    );
    for (const mark of ['98761', '98762', '98763']) expect(await isRunning(`sleep\0${mark}`)).toBe(false);
  });

  test('is killed at its deadline, and when it is not wanted any more, deaf or not', async () => {
    const late = await run('trap "" TERM INT HUP; sleep 98764 & wait', {}, { timeoutMs: 300 });
    expect(late.result).toEqual({ kind: 'timed out' });
    const abort = new AbortController();
    const running = run('echo up; trap "" TERM; sleep 98765', {}, { signal: abort.signal });
    setTimeout(() => abort.abort(new Error('newer push')), 300);
    expect((await running).result).toMatchObject({ kind: 'killed' });
    expect(await isRunning('sleep\x0098764')).toBe(false);
    expect(await isRunning('sleep\x0098765')).toBe(false);
  });

  test('its exit code and the signal that ended it are told', async () => {
    expect((await run('exit 7')).result).toEqual({ kind: 'exited', code: 7 });
    expect((await run('nothing-like-this')).result).toEqual({ kind: 'exited', code: 127 });
    expect((await run('./file')).result).toEqual({ kind: 'exited', code: 126 });
  });

  test('cannot leave a file behind that belongs to root', async () => {
    await run('touch mine');
    expect((await stat(join(checkout, 'mine'))).uid).toBe(nobody.uid);
  });

  test('may use the memory it has, and is killed when it wants more', async () => {
    const fill = (size: number) => `perl -e '$x = "x" x (${size} * 1024 * 1024); print "filled\\n"'`;
    const limited = { memoryBytes: 96 * megabyte };
    expect((await run(fill(20), {}, limited)).lines).toEqual(['filled']);
    const { result, lines } = await run(fill(200), {}, limited);
    expect(lines).not.toContain('filled');
    expect(result.reached).toEqual(cgroup && ['memory']);
    expect(cgroup !== undefined || /Out of memory/.test(lines.join())).toBe(true);
  });

  test('cannot start more processes than its limit', async () => {
    // A shell whose fork fails says so and ends.
    const many = 'for i in $(seq 100); do sleep 98766 & done; echo started';
    const { result, lines } = await run(many, {}, { processes: 50 });
    expect(lines.join()).toMatch(/fork/i);
    expect(lines).not.toContain('started');
    expect(result.reached).toEqual(cgroup && ['processes']);
    expect(await isRunning('sleep\x0098766')).toBe(false);
  });

  test('cannot write a file of endless size', async () => {
    expect((await run('truncate -s 20G big')).result).toEqual({ kind: 'exited', code: 153 });
  });

  test('cannot fill the disk with many files', async () => {
    const small = join(dataDir, 'work/app/small');
    await mkdir(small);
    await promisify(execFile)('mount', ['-t', 'tmpfs', '-o', 'size=64m,mode=755', 'tmpfs', small]);
    try {
      checkout = small;
      const fill = 'i=0; while :; do head -c 1M /dev/zero >file-$i; i=$((i + 1)); done';
      expect((await run(fill)).result).toMatchObject({ kind: 'disk full' });
    } finally {
      await promisify(execFile)('umount', [small]);
    }
  });

  test('has nothing of the engine’s socket, and what it leaves in shared folders is gone', async () => {
    const { lines } = await run(
      'test -S /var/run/docker.sock || echo no-socket; for d in /tmp /var/tmp /dev/shm; do echo x > $d/gantry-left && echo wrote; done',
    );
    expect(lines).toEqual(['no-socket', 'wrote', 'wrote', 'wrote']);
    for (const folder of ['/tmp', '/var/tmp', '/dev/shm'])
      expect(await readdir(folder)).not.toContain('gantry-left');
  });

  test('leaves no cgroup behind', async () => {
    await run('(setsid sleep 98767 &); exit 0');
    for (const folder of [cgroups?.memory, cgroups?.pids, cgroups?.cpu]) {
      const names = await readdir(folder ?? '/nowhere');
      expect(names.filter((name) => name.includes(`-${process.pid}-`))).toEqual([]);
    }
  });

  test('is not run at all when the sandbox cannot be made', async () => {
    await rm(checkout, { recursive: true });
    expect((await run('touch /tmp/ran')).result).toMatchObject({ kind: 'refused' });
  });
});
