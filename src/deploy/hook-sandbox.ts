import { spawn } from 'node:child_process';
import { readLines } from './read-lines.ts';

export type SandboxSettings = {
  /** Unprivileged; needs no password entry beyond its numbers. */
  uid: number;
  gid: number;
  /** Hidden from the hook, all but the checkout. */
  dataDir: string;
  timeoutMs: number;
};

export type HookResult =
  | { kind: 'exited'; code: number }
  | { kind: 'killed'; signal: string }
  | { kind: 'timed out' }
  /** The sandbox itself could not be made; nothing of the app ran. */
  | { kind: 'refused'; reason: string };

/**
 * Runs as root in new mount and PID namespaces: hides the data folder and /tmp behind empty file systems, puts the
 * checkout back at its place, limits resources, drops every privilege, and only then brings in the app's variables.
 *
 * They travel as GANTRY_0, GANTRY_1, ... holding `NAME=value`, so that no LD_PRELOAD or PATH of an app reaches a program
 * that still has privileges, and no value is ever on a command line. The text is constant: nothing of an app is in it.
 */
const enter = `
set -e
exec 9<"$GANTRY_CHECKOUT"
mount -t tmpfs -o mode=1777,size=512m,nosuid,nodev tmpfs /tmp
mkdir -p "$GANTRY_DATA_DIR"
mount -t tmpfs -o mode=755,size=1m tmpfs "$GANTRY_DATA_DIR"
mkdir -p "$GANTRY_CHECKOUT"
mount --no-canonicalize --bind /proc/self/fd/9 "$GANTRY_CHECKOUT"
exec 9<&-
cd "$GANTRY_CHECKOUT"
chown -hR "$GANTRY_UID:$GANTRY_GID" .
exec prlimit --core=0 --nproc=1024 --fsize=10737418240 --nofile=4096 \
  setpriv --reuid "$GANTRY_UID" --regid "$GANTRY_GID" --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
  --pdeathsig KILL \
  sh -c "$GANTRY_RUN"
`;

const run = `
__n=$GANTRY_COUNT __i=0 __c=$GANTRY_COMMAND __home=$GANTRY_CHECKOUT
for __v in GANTRY_COUNT GANTRY_COMMAND GANTRY_CHECKOUT GANTRY_DATA_DIR GANTRY_UID GANTRY_GID GANTRY_RUN; do unset "$__v"; done
while [ "$__i" -lt "$__n" ]; do
  eval "__p=\\$GANTRY_$__i"
  unset "GANTRY_$__i"
  export "$__p"
  __i=$((__i + 1))
done
echo "$GANTRY_MARK" >&2
unset GANTRY_MARK
exec /bin/sh -c "$__c"
`;

const dieWithParent = ['--pdeathsig', 'KILL'];

/** Printed right before the hook's own code begins, so that a sandbox that failed is not taken for a hook that failed. */
const mark = 'gantry: the sandbox is ready';

/**
 * Runs `sh -c command` in `checkout` with `env` and nothing else. When it resolves no process of the hook is left:
 * the kernel ends a PID namespace with its first process. Aborting the signal kills it; then the result says `killed`.
 */
export async function runInSandbox(
  command: string,
  checkout: string,
  env: Readonly<Record<string, string>>,
  settings: SandboxSettings,
  report: (lines: string[]) => Promise<void>,
  signal: AbortSignal,
): Promise<HookResult> {
  signal.throwIfAborted();
  const variables = Object.entries(env).map(([name, value], index) => [
    `GANTRY_${index}`,
    `${name}=${value}`,
  ]);
  const child = spawn(
    'setpriv',
    // With the worker dies unshare, with unshare the first process of the namespace, with that one all others.
    [
      ...dieWithParent,
      'unshare',
      '--pid',
      '--fork',
      '--mount',
      '--mount-proc',
      '--propagation',
      'private',
      'sh',
      '-c',
      enter,
    ],
    {
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        LANG: 'C.UTF-8',
        HOME: checkout,
        GANTRY_CHECKOUT: checkout,
        GANTRY_DATA_DIR: settings.dataDir,
        GANTRY_UID: String(settings.uid),
        GANTRY_GID: String(settings.gid),
        GANTRY_RUN: run,
        GANTRY_MARK: mark,
        GANTRY_COMMAND: command,
        GANTRY_COUNT: String(variables.length),
        ...(Object.fromEntries(variables) as Record<string, string>),
      },
    },
  );

  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill('SIGKILL');
  }, settings.timeoutMs);
  const onAbort = () => child.kill('SIGKILL');
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
      const end = lines.indexOf(mark);
      beforeReady.push(...lines.slice(0, end === -1 ? undefined : end));
      ready = end !== -1;
      if (ready && end + 1 < lines.length) await report(lines.slice(end + 1));
    };
    await Promise.all([exit, readLines(child.stdout, report), readLines(child.stderr, takeErrors)]);
    const result = await exit;
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
    signal.removeEventListener('abort', onAbort);
  }
}
