import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { appRepository, Rig, until } from '../support/rig.ts';

const Dockerfile = 'FROM gantry-test/base:1\nCOPY www /www\nCMD ["httpd","-f","-p","8080","-h","/www"]\n';

/** What a hook may and may not do, with each kind of walls. */
describe.each(['bubblewrap', 'unshare'])('a hook in %s', (sandbox) => {
  let rig: Rig;
  let repo: Awaited<ReturnType<typeof appRepository>>;
  beforeAll(async () => {
    rig = await Rig.start({
      GANTRY_HOOK_SANDBOX: sandbox,
      GANTRY_HOOK_TIMEOUT: '6',
      GANTRY_HOOK_MEMORY: '96M',
      GANTRY_HOOK_PROCESSES: '60',
      GANTRY_HEALTH_TIMEOUT: '20',
    });
    repo = await appRepository('hello', {
      Dockerfile,
      'scripts/greet.sh': {
        executable: true,
        content: '#!/bin/sh\necho "greets $1 from $(basename "$PWD")"\n',
      },
      'scripts/plain.sh': 'echo never\n',
      'scripts/windows.sh': { executable: true, content: '#!/bin/sh\r\necho never\r\n' },
      'scripts/exotic': { executable: true, content: '#!/usr/bin/env python9\nprint("never")\n' },
    });
    await rig.setEnv('neighbour', { SECRET: 'the-neighbours-secret' });
    await repo.push(await rig.pushUrl('neighbour'));
  });
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
    await repo[Symbol.asyncDispose]();
  });
  beforeEach(() => rig.explainFailures());

  let number = 0;
  /** Pushes an app of its own with the hook; afterwards nothing of it runs and everything else does. */
  async function pushWith(hook: string): Promise<string> {
    number += 1;
    const app = `${sandbox.slice(0, 1)}-${number}`;
    await rig.setEnv(app, { CC_PRE_BUILD_HOOK: hook });
    const push = await repo.push(await rig.pushUrl(app));
    expect(await hookProcesses()).toEqual([]);
    expect((await rig.request('neighbour')).status).toBe(200);
    expect((await rig.api('GET', '/status')).status).toBe(200);
    return push.stderr;
  }

  async function hookProcesses(): Promise<string[]> {
    const found: string[] = [];
    for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
      const read = (file: string): Promise<string> =>
        readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
      if (
        (await read('environ')).includes(`HOME=${rig.dataDir}/work`) ||
        /\0gantry-mark/.test(await read('cmdline'))
      )
        found.push(await read('cmdline'));
    }
    return found;
  }

  test.each([
    ['a path with arguments', './scripts/greet.sh world', /greets world from/],
    ['a path without ./', 'scripts/greet.sh world', /greets world from/],
    [
      'several lines',
      'cd scripts\n./greet.sh two\necho three lines',
      /greets two from scripts[^]*three lines/,
    ],
  ])('may be %s', async (_, hook, said) => {
    expect(await pushWith(hook)).toMatch(said);
  });

  test.each([
    [
      'scripts/plain.sh',
      /scripts\/plain.sh is not executable[^]*git update-index --chmod=\+x scripts\/plain.sh/,
    ],
    ['./scripts/missing.sh', /there is no scripts\/missing.sh in the repository/],
    ['./scripts/windows.sh', /scripts\/windows.sh has Windows line ends \(CRLF\)/],
    ['scripts/exotic', /scripts\/exotic asks for python9 in its #! line, which is not on this machine/],
    ['no-such-command', /exited with code 127[^]*hooks run on the host, not in your image/],
  ])('that cannot start says what to do: %s', async (hook, said) => {
    expect(await pushWith(hook)).toMatch(said);
  });

  test('cannot bomb the machine with forks', async () => {
    const said = await pushWith('bomb() { bomb | bomb & }; bomb; sleep 2; exit 3');
    expect(said).toMatch(/it reached the limit of 60 processes/);
  });

  test('leaves no daemon, however it is started', async () => {
    const said = await pushWith(
      'setsid sh -c "sleep 600 # gantry-mark" & nohup sh -c "sleep 600; : gantry-mark" >/dev/null 2>&1 & ' +
        '(env -i setsid sh -c "trap \\"\\" TERM HUP; sleep 600 & wait" gantry-mark >/dev/null 2>&1 &) & sleep 0.5; echo left',
    );
    expect(said).toMatch(/left\b[^]*is live/);
  });

  test('that floods the log ends at the deadline, and the push stays small', async () => {
    const said = await pushWith('yes 0123456789012345678901234567890123456789012345678901234567890123456789');
    expect(said).toMatch(/timed out after 6\.0s/);
    expect(said).toMatch(/not kept: output passed the 4 MiB limit/);
    expect(said.length).toBeLessThan(8 * 1024 ** 2);
  });

  test('that ignores SIGTERM and sleeps for ever ends at the deadline', async () => {
    expect(await pushWith('trap "" TERM INT HUP; while :; do sleep 1; done')).toMatch(
      /timed out after 6\.0s/,
    );
  });

  test('does not see the environment of the worker or of any other process', async () => {
    const said = await pushWith(
      'cat /proc/*/environ 2>/dev/null | tr "\\0" "\\n" | grep GANTRY; ls -d /proc/[0-9]* | wc -l; exit 4',
    );
    expect(said).not.toMatch(/GANTRY_(DATA|PORT|HOOK)/);
    expect(Number(/^remote: +(\d+) *$/m.exec(said)?.[1])).toBeLessThan(10);
    expect(said).toMatch(/exited with code 4/);
  });

  test('cannot talk to the Docker engine', async () => {
    const said = await pushWith(
      `perl -MIO::Socket::UNIX -e 'for (@ARGV) { IO::Socket::UNIX->new(Peer => $_) and die "connected"; print "docker.sock: $!\\n" } exit 5' /var/run/docker.sock /run/docker.sock`,
    );
    expect(said).toMatch(/docker\.sock: \w+/);
    expect(said).toMatch(/exited with code 5[^]*hooks cannot reach the Docker engine/);
  });

  test('sees neither the data folder, nor other apps, nor Redis', async () => {
    const said = await pushWith(
      `cd /; ls -a ${rig.dataDir} ${rig.dataDir}/work; find ${rig.dataDir} -name "*neighbour*"; cat ${rig.dataDir}/admin-token; ` +
        `perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Peer => shift) and die "connected"; print "redis: $!\\n"' ${rig.dataDir}/redis/redis.sock; exit 6`,
    );
    expect(said).toMatch(/admin-token: No such file/);
    expect(said).toMatch(/redis: No such file/);
    expect(said).not.toMatch(/connected|neighbour(?!\*)|gantry\.log|keys$/m);
    expect(said).not.toContain(await rig.token);
    expect(said).toMatch(/exited with code 6/);
  });

  test('cannot take more memory than it may, in /tmp neither', async () => {
    const fill = `perl -e '$x = "x" x (300 * 1024 * 1024); print "filled"'`;
    expect(await pushWith(fill)).toMatch(/was killed: out of memory \(limit 96 MiB\)/);
    expect(await pushWith('head -c 300M /dev/zero >/tmp/big')).toMatch(
      /was killed: out of memory \(limit 96 MiB\)/,
    );
  });

  test('cannot write a file larger than the limit', async () => {
    expect(await pushWith('truncate -s 20G big')).toMatch(/was ended: a file grew past 10 GiB/);
  });

  test('that is left by a worker that is killed dies with it', async () => {
    await rig.setEnv('orphan', { CC_PRE_BUILD_HOOK: 'trap "" TERM; echo up; sleep 5' });
    void repo.push(await rig.pushUrl('orphan'));
    await until('the hook runs', async () => (await hookProcesses()).length > 0);
    process.kill(await rig.workerPid(), 'SIGKILL');
    await expect.poll(hookProcesses, { timeout: 3000 }).toEqual([]);
  });
});

describe('variables that make programs run code', () => {
  let rig: Rig;
  let evil: string;
  beforeAll(async () => {
    rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '20' });
    // Hooks do not see the machine's /tmp, so whoever leaves a trace here is a process of ours.
    evil = await mkdtemp(join(tmpdir(), 'gantry-evil-'));
    await chmod(evil, 0o777);
    const trace = `echo "$0 $*" >>${evil}/trace\n`;
    await mkdir(join(evil, 'bin'));
    for (const name of [
      'git',
      'sh',
      'setpriv',
      'unshare',
      'bwrap',
      'prlimit',
      'mount',
      'chown',
      'perl',
      'docker',
      'node',
      'ssh',
    ])
      await writeFile(join(evil, 'bin', name), `#!/bin/sh\n${trace}exec /usr/bin/${name} "$@"\n`, {
        mode: 0o755,
      });
    await writeFile(join(evil, 'startup.sh'), trace);
    await writeFile(
      join(evil, 'evil.cjs'),
      `require('node:fs').appendFileSync('${evil}/trace', process.argv.join(' '))`,
    );
    await writeFile(join(evil, 'evil.pm'), `open(F, '>>', '${evil}/trace'); print F "perl\\n"; close F; 1;`);
  });
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
    await rm(evil, { recursive: true, force: true });
  });
  beforeEach(() => rig.explainFailures());

  test('act on the hook’s own command, never on a process of ours', async () => {
    const variables: Record<string, string> = {
      LD_PRELOAD: `${evil}/evil.so`,
      LD_LIBRARY_PATH: evil,
      PATH: `${evil}/bin:/usr/bin:/bin`,
      BASH_ENV: `${evil}/startup.sh`,
      ENV: `${evil}/startup.sh`,
      NODE_OPTIONS: `--require=${evil}/evil.cjs`,
      PERL5OPT: `-I${evil} -Mevil`,
      PYTHONPATH: evil,
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'core.fsmonitor',
      GIT_CONFIG_VALUE_0: `${evil}/bin/git`,
      GIT_SSH_COMMAND: `${evil}/bin/ssh`,
      GIT_EXEC_PATH: `${evil}/bin`,
      GIT_DIR: evil,
      DOCKER_HOST: 'tcp://127.0.0.1:1',
      HTTPS_PROXY: 'http://127.0.0.1:1',
    };
    await using repo = await appRepository('hello', { Dockerfile });
    const names = Object.keys(variables);
    await rig.setEnv('evil', {
      ...variables,
      CC_PRE_BUILD_HOOK: `${names.map((name) => `echo "has ${name}=$${name}"`).join('; ')}; /bin/sleep 1`,
    });
    const seen = new Set<string>();
    let isOver = false;
    const watching = watch(evil, () => isOver, seen);
    const push = await repo.push(await rig.pushUrl('evil'));
    isOver = true;
    await watching;
    expect(push.stderr).toMatch(/is live/);
    // The values are masked in every log; what counts is that they arrived.
    for (const name of names) expect(push.stderr).toMatch(new RegExp(`has ${name}=.+`));
    expect([...seen]).toEqual([]);
    expect(await readFile(join(evil, 'trace'), 'utf8').catch(() => 'no trace')).toBe('no trace');
  });

  /** Collects processes with the mark in their environment that are neither the hook nor in a container. */
  async function watch(mark: string, isOver: () => boolean, seen: Set<string>): Promise<void> {
    const hookUid = /^gantry-hook:[^:]*:(\d+):/m.exec(await readFile('/etc/passwd', 'utf8'))?.[1] ?? '';
    while (!isOver()) {
      for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
        const read = (file: string): Promise<string> =>
          readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
        if (!(await read('environ')).includes(mark)) continue;
        if ((await read('cgroup')).includes('/docker/')) continue;
        if (/^Uid:\t(\d+)/m.exec(await read('status'))?.[1] === hookUid) continue;
        const command = await read('cmdline');
        if (command !== '') seen.add(command.replaceAll('\0', ' '));
      }
    }
  }
});
