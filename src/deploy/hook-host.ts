import { execFile } from 'node:child_process';
import { access, constants, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '../errors.ts';
import { type CgroupPlace, findCgroupPlace } from './hook-cgroup.ts';
import { chooseSandbox, type SandboxChoice, type SandboxFacts, type SandboxWish } from './sandbox-level.ts';

type HookUser = { uid: number; gid: number };

/** How hooks can be run on this machine. */
export type HookHost = { choice: SandboxChoice; user: HookUser | undefined; cgroup: CgroupPlace | undefined };

const words = (text: string): string[] => text.split(' ');

/** Arguments of `unshare` that both kinds of walls begin with. */
export const namespaces = words('--pid --fork --kill-child=KILL --ipc --uts');
/**
 * bubblewrap gives up the right to kill what runs in its PID namespace, so that a hook would outlive a bubblewrap that is
 * killed. That is why it is itself the first process of one: with it the kernel ends everything in both.
 */
export const bubblewrap = words('bwrap --unshare-pid --as-pid-1 --ro-bind / / --dev /dev --proc /proc');
export const unshareMounts = words('--mount --mount-proc --propagation private');

export const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Tries what there is; costs a few processes. */
export async function probeHookHost(wish: SandboxWish, hookUser: string): Promise<HookHost> {
  const isRoot = process.getuid?.() === 0;
  const user = await lookUpUser(hookUser);
  const missing: string[] = [];
  for (const command of ['setpriv', 'prlimit', 'unshare', 'perl']) {
    if (!(await isInstalled(command))) missing.push(command);
  }
  const canTry = isRoot && missing.length === 0;
  const cgroup = canTry ? await findCgroupPlace() : undefined;
  const facts: SandboxFacts = {
    isRoot,
    missing,
    hookUser: user ? 'works' : 'missing',
    bubblewrap: !(await isInstalled('bwrap'))
      ? 'missing'
      : canTry
        ? await despiteMountRaces(
            () => tryOut([...bubblewrap, '--tmpfs', '/tmp', 'true']),
            (fact) => (fact === 'works' ? undefined : fact.problem),
          )
        : 'missing',
    unshare: canTry
      ? await tryOut([...unshareMounts, ...words('mount -t tmpfs tmpfs /tmp')])
      : { problem: 'not tried' },
    cgroup,
  };
  return { choice: chooseSandbox(wish, facts, hookUser), user, cgroup };
}

async function tryOut(args: readonly string[]): Promise<'works' | { problem: string }> {
  try {
    await promisify(execFile)('unshare', [...namespaces, ...args], {
      env: { PATH: systemPath },
      timeout: 20_000,
    });
    return 'works';
  } catch (error) {
    return { problem: messageOf(error).split('\n').slice(1).join(' ').trim() || messageOf(error) };
  }
}

const mostMountRaces = 10;

/**
 * Makes a sandbox, once more when bubblewrap gave up on the mounts of others: it reads which there are, then changes each,
 * and one of a container may have gone in between (containers/bubblewrap#650). Nothing of a hook has run by then.
 */
export async function despiteMountRaces<T>(
  make: () => Promise<T>,
  whyNot: (made: T) => string | undefined,
): Promise<T> {
  for (let races = 0; ; races += 1) {
    const made = await make();
    const isRace = whyNot(made)?.includes('Unable to apply mount flags');
    if (!isRace || races === mostMountRaces) return made;
  }
}

export async function isInstalled(command: string): Promise<boolean> {
  for (const folder of systemPath.split(':')) {
    const found = await access(join(folder, command), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}

async function lookUpUser(name: string): Promise<HookUser | undefined> {
  const line = (await readFile('/etc/passwd', 'utf8').catch(() => ''))
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid && gid && Number(uid) !== 0 ? { uid: Number(uid), gid: Number(gid) } : undefined;
}
