import { type ChildProcess, spawn } from 'node:child_process';
import { statfs } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { messageOf } from '../errors.ts';
import { type CgroupPlace, HookCgroup } from './hook-cgroup.ts';
import { bubblewrap, despiteMountRaces, namespaces, systemPath, unshareMounts } from './hook-host.ts';
import { readLines } from './read-lines.ts';
import type { Walls } from './sandbox-level.ts';

export type SandboxSettings = {
  walls: Walls;
  /** Absent: memory is limited per process, and processes for all hooks of the machine together. */
  cgroup: CgroupPlace | undefined;
  /** Unprivileged; needs no password entry beyond its numbers. */
  uid: number;
  gid: number;
  /** Hidden from the hook, all but the checkout. */
  dataDir: string;
  /** The engine's socket, hidden as well, whoever may use it. */
  dockerSocket?: string | undefined;
  timeoutMs: number;
  memoryBytes: number;
  processes: number;
};

export type HookRun = {
  command: string;
  /** All of the data folder the hook sees, and may write to. */
  checkout: string;
  /** Where it starts: the checkout, or a folder in it. */
  folder: string;
  env: Readonly<Record<string, string>>;
  report: (lines: string[]) => Promise<void>;
  signal: AbortSignal;
};

export type HookResult = (
  | { kind: 'exited'; code: number }
  | { kind: 'killed'; signal: string }
  | { kind: 'timed out' }
  /** It left too little room on the disk for everybody else. */
  | { kind: 'disk full' }
  /** The sandbox itself could not be made; nothing of the app ran. */
  | { kind: 'refused'; reason: string }
) & {
  /** Limits it ran into, which may be why it ended. Known with cgroups only. */
  reached?: readonly ('memory' | 'processes')[];
};

/** A full disk stops Redis, and with it every deployment of every app. */
const lookAtDiskEveryMs = 250;
const mostKeptFreeBytes = 512 * 1024 ** 2;

/** The largest file a hook can write. */
export const largestFileBytes = 10 * 1024 ** 3;

/**
 * The texts that run before the hook's own command. They are constant: nothing of an app is in them. What differs comes
 * in as variables of ours; the app's variables and its command come over file descriptor 3 and are read by the last step,
 * when every privilege is gone. So no LD_PRELOAD or PATH of an app ever reaches a program that has privileges, and no value
 * is ever on a command line.
 */
const enter = `
set -e
for folder in $GANTRY_CGROUPS; do echo 0 >"$folder/cgroup.procs"; done
chown -hR "$GANTRY_UID:$GANTRY_GID" "$GANTRY_CHECKOUT"
exec "$@"
`;

/** The walls of \`unshare\`: empty file systems over what is not the hook's business, the checkout back at its place. */
const hide = `
set -e
exec 9<"$GANTRY_CHECKOUT"
for folder in /tmp /var/tmp /dev/shm; do
  [ ! -d "$folder" ] || mount -t tmpfs -o mode=1777,size=512m,nosuid,nodev tmpfs "$folder"
done
mkdir -p "$GANTRY_DATA_DIR"
mount -t tmpfs -o mode=755,size=1m tmpfs "$GANTRY_DATA_DIR"
mkdir -p "$GANTRY_CHECKOUT"
mount --no-canonicalize --bind /proc/self/fd/9 "$GANTRY_CHECKOUT"
exec 9<&-
[ ! -e "$GANTRY_DOCKER_SOCKET" ] || mount --bind /dev/null "$GANTRY_DOCKER_SOCKET"
exec "$@"
`;

const drop = `
set -e
cd "$GANTRY_FOLDER"
exec prlimit --core=0 --nproc="$GANTRY_NPROC" --data="$GANTRY_DATA_LIMIT" --fsize=${largestFileBytes} --nofile=4096 \
  setpriv --reuid "$GANTRY_UID" --regid "$GANTRY_GID" --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
  --pdeathsig KILL \
  perl -e "$GANTRY_PERL"
`;

/**
 * Printed right before the hook's own code begins, so that a sandbox that failed is not taken for a hook that failed. Only
 * then is the command sent: a sandbox whose outer process was killed before the inner one could be bound to its life gets
 * none, and ends.
 */
const mark = 'gantry: the sandbox is ready';
const complete = 'complete';

const perl = String.raw`
open(my $in, '<&=', 3) or die "no descriptor 3: $!"; binmode $in; local $/;
print STDERR "${mark}\n";
my ($command, @env) = split /\0/, <$in>, -1; close $in;
exit 125 unless @env && pop(@env) eq '${complete}';
%ENV = (); for (@env) { my ($name, $value) = split /=/, $_, 2; $ENV{$name} = $value }
exec { '/bin/sh' } 'sh', '-c', $command;
print STDERR "the command cannot be started: $!\n"; exit 126;
`;

/**
 * Runs `sh -c command` with `env` and nothing else. When it resolves no process of the hook is left: the kernel ends a PID
 * namespace with its first process. Aborting the signal kills it; then the result says `killed`.
 */
export async function runInSandbox(run: HookRun, settings: SandboxSettings): Promise<HookResult> {
  run.signal.throwIfAborted();
  let group: HookCgroup | undefined;
  try {
    group = settings.cgroup && (await HookCgroup.make(settings.cgroup, settings));
  } catch (error) {
    return { kind: 'refused', reason: `its limits could not be set: ${messageOf(error)}` };
  }
  try {
    const result = await despiteMountRaces(
      async () => {
        run.signal.throwIfAborted();
        return runChild(start(run, settings, group), run, settings.timeoutMs);
      },
      (made) => (made.kind === 'refused' ? made.reason : undefined),
    );
    const reached = (await group?.reached()) ?? [];
    return reached.length > 0 ? { ...result, reached } : result;
  } finally {
    await group?.remove();
  }
}

function start(run: HookRun, settings: SandboxSettings, group: HookCgroup | undefined): ChildProcess {
  // With the worker dies the outer process, with that one the first process of the namespace, with it all others.
  const outer = ['--pdeathsig', 'KILL', 'sh', '-c', enter, 'sh', 'unshare', ...namespaces];
  const walls =
    settings.walls === 'bubblewrap'
      ? hideByBubblewrap(run, settings)
      : [...unshareMounts, 'sh', '-c', hide, 'sh'];
  const child = spawn('setpriv', [...outer, ...walls, 'sh', '-c', drop], {
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: {
      PATH: systemPath,
      LANG: 'C.UTF-8',
      GANTRY_CGROUPS: (group?.folders ?? []).join(' '),
      GANTRY_CHECKOUT: run.checkout,
      GANTRY_FOLDER: run.folder,
      GANTRY_DATA_DIR: settings.dataDir,
      GANTRY_DOCKER_SOCKET: settings.dockerSocket ?? '',
      GANTRY_UID: String(settings.uid),
      GANTRY_GID: String(settings.gid),
      // The kernel counts processes per user, so with a group of its own a hook is not limited by what others run.
      GANTRY_NPROC: String(group ? 8192 : settings.processes),
      GANTRY_DATA_LIMIT: group ? 'unlimited' : String(settings.memoryBytes),
      GANTRY_PERL: perl,
    },
  });
  return child;
}

function hideByBubblewrap({ checkout }: HookRun, { dataDir, dockerSocket }: SandboxSettings): string[] {
  const size = String(512 * 1024 ** 2);
  const empty = (folder: string, perms: string) => ['--perms', perms, '--size', size, '--tmpfs', folder];
  const way = foldersBetween(dataDir, checkout).flatMap((folder) => ['--perms', '0755', '--dir', folder]);
  const socket = dockerSocket === undefined ? [] : ['--ro-bind', '/dev/null', dockerSocket];
  return [
    ...bubblewrap,
    ...['/tmp', '/var/tmp', '/dev/shm'].flatMap((folder) => empty(folder, '1777')),
    ...empty(dataDir, '0755'),
    ...way,
    '--bind',
    checkout,
    checkout,
    ...socket,
  ];
}

/** Those on the way to the checkout, which bubblewrap would make for root alone. */
function foldersBetween(from: string, to: string): string[] {
  const names = relative(from, dirname(to)).split('/').filter(Boolean);
  return names.map((_, index) => join(from, ...names.slice(0, index + 1)));
}

async function hasRoom(folder: string): Promise<boolean> {
  const disk = await statfs(folder).catch(() => undefined);
  if (!disk) return true;
  return disk.bavail * disk.bsize > Math.min(mostKeptFreeBytes, disk.blocks * disk.bsize * 0.05);
}

/** No word of it can hold a NUL. */
function message({ command, env }: HookRun): string {
  return [command, ...Object.entries(env).map(([name, value]) => `${name}=${value}`), complete].join('\0');
}

async function runChild(child: ChildProcess, run: HookRun, timeoutMs: number): Promise<HookResult> {
  const { report, signal } = run;
  const input = child.stdio[3] as Writable | null; // null when the child could not be started
  input?.on('error', () => {}); // a sandbox that could not be made reads nothing, and says why
  let timedOut = false;
  let isDiskFull = false;
  const end = () => {
    child.kill('SIGKILL');
    input?.destroy();
  };
  const timer = setTimeout(() => {
    timedOut = true;
    end();
  }, timeoutMs);
  const disk = setInterval(() => {
    void hasRoom(run.checkout).then((has) => {
      if (has) return;
      isDiskFull = true;
      end();
    });
  }, lookAtDiskEveryMs);
  const onAbort = () => end();
  signal.addEventListener('abort', onAbort);
  try {
    const exit = new Promise<HookResult>((resolve) => {
      child.on('error', (error) =>
        resolve({ kind: 'refused', reason: `setpriv could not be started: ${error.message}` }),
      );
      child.on('exit', (code, killedBy) => {
        resolve(code === null ? { kind: 'killed', signal: killedBy ?? 'SIGKILL' } : { kind: 'exited', code });
      });
    });
    let ready = false;
    const beforeReady: string[] = [];
    const takeErrors = async (lines: string[]): Promise<void> => {
      if (ready) return report(lines);
      const at = lines.indexOf(mark);
      beforeReady.push(...lines.slice(0, at === -1 ? undefined : at));
      ready = at !== -1;
      if (ready && !input?.destroyed) input?.end(message(run));
      if (ready && at + 1 < lines.length) await report(lines.slice(at + 1));
    };
    const { stdout, stderr } = child as { stdout: Readable; stderr: Readable };
    await Promise.all([exit, readLines(stdout, report), readLines(stderr, takeErrors)]);
    const result = await exit;
    if (isDiskFull) return { kind: 'disk full' };
    if (timedOut) return { kind: 'timed out' };
    if (!ready && result.kind === 'exited') {
      return {
        kind: 'refused',
        reason: beforeReady.join('; ') || `the sandbox ended with code ${result.code}`,
      };
    }
    return result;
  } finally {
    clearTimeout(timer);
    clearInterval(disk);
    signal.removeEventListener('abort', onAbort);
  }
}
