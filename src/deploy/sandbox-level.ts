/** What keeps a hook from the rest of the machine. bubblewrap also makes everything but the checkout read-only. */
export type Walls = 'bubblewrap' | 'unshare';

type Cgroup = 'cgroup v2' | 'cgroup v1';

export type SandboxLevel = {
  walls: Walls;
  /**
   * `cgroup`: memory and processes are counted for the hook as a whole, best in a scope that `systemd-run` asked for; else
   * for each process, or for the user.
   */
  limits: Cgroup | `${Cgroup} in a systemd scope` | 'per process';
};

/** What a look at this machine found. `works`, or why not. */
export type SandboxFacts = {
  isRoot: boolean;
  /** Commands that every level needs and that are not installed. */
  missing: readonly string[];
  hookUser: 'works' | 'missing';
  bubblewrap: 'works' | 'missing' | { problem: string };
  unshare: 'works' | { problem: string };
  cgroup: { version: 'v2' | 'v1'; isInScope: boolean } | undefined;
};

export type SandboxWish = 'auto' | Walls;

export type SandboxChoice = { level: SandboxLevel } | { refused: string; fix: string };

/** The strongest level this machine offers, or the one that was asked for, or a refusal: never less than asked. */
export function chooseSandbox(wish: SandboxWish, facts: SandboxFacts, hookUser: string): SandboxChoice {
  if (!facts.isRoot)
    return { refused: 'the worker does not run as root', fix: 'run Gantry as root on Linux' };
  const [missing] = facts.missing;
  if (missing !== undefined)
    return { refused: `${missing} is not installed`, fix: 'apt-get install util-linux perl' };
  if (facts.hookUser === 'missing') {
    return {
      refused: `there is no unprivileged user ${hookUser} on this machine (GANTRY_HOOK_USER)`,
      fix: `useradd --system --no-create-home --shell /usr/sbin/nologin ${hookUser}`,
    };
  }
  const limits = limitsOf(facts.cgroup);
  if (wish !== 'unshare' && facts.bubblewrap === 'works') return { level: { walls: 'bubblewrap', limits } };
  if (wish === 'bubblewrap') {
    return facts.bubblewrap === 'missing'
      ? { refused: 'bubblewrap is not installed', fix: 'apt-get install bubblewrap' }
      : { refused: `bubblewrap does not work here: ${problemOf(facts.bubblewrap)}`, fix: unlock };
  }
  if (facts.unshare === 'works') return { level: { walls: 'unshare', limits } };
  return { refused: `namespaces cannot be made here: ${problemOf(facts.unshare)}`, fix: unlock };
}

function limitsOf(cgroup: SandboxFacts['cgroup']): SandboxLevel['limits'] {
  if (cgroup === undefined) return 'per process';
  return cgroup.isInScope ? `cgroup ${cgroup.version} in a systemd scope` : `cgroup ${cgroup.version}`;
}

const unlock = 'in a container: give the worker SYS_ADMIN and an unconfined AppArmor profile';

function problemOf(fact: string | { problem: string }): string {
  return typeof fact === 'string' ? fact : fact.problem;
}

/** One line for people. */
export function describeLevel({ walls, limits }: SandboxLevel): string {
  return limits === 'per process'
    ? `${walls}; memory is limited per process and processes per user (no writable cgroup)`
    : `${walls}; memory and processes are limited for the hook as a whole (${limits})`;
}
