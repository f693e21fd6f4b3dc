import { mkdir, readdir, readFile, readlink, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openScope } from './hook-scope.ts';

/**
 * Where groups can be made: one folder for all controllers (v2), or one for each (v1). `scope`: they are in a scope that
 * systemd gave us.
 */
export type CgroupPlace = {
  version: 'v2' | 'v1';
  isInScope: boolean;
  memory: string;
  pids: string;
  cpu: string | undefined;
};

export type CgroupLimits = { memoryBytes: number; processes: number };

const namePrefix = 'gantry-hook-';
let made = 0;

/** Groups may be the same for all, but a process has its number in its own namespace only: in a container it is another one. */
async function pidNamespace(): Promise<string> {
  return (await readlink('/proc/self/ns/pid')).replace(/\D/g, '');
}

/** Finds a place where this process may limit memory and processes of a group. Nothing: it may not. */
export async function findCgroupPlace(): Promise<CgroupPlace | undefined> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8').catch(() => ''))
    .split('\n')
    .map((line) => line.split(' '));
  const keeper = await openScope();
  const inScope = keeper === undefined ? [] : [await v2Scope(mounts, keeper), await v1Place(mounts, keeper)];
  for (const place of [...inScope, v2Root(mounts), await v1Place(mounts)]) {
    if (place === undefined) continue;
    const group = await HookCgroup.make(place, { memoryBytes: 64 * 1024 ** 2, processes: 16 }).catch(
      () => {},
    );
    if (!group) continue;
    await group.remove();
    return place;
  }
  return undefined;
}

function v2Root(mounts: readonly string[][]): CgroupPlace | undefined {
  const folder = mounts.find(([, , type]) => type === 'cgroup2')?.[1];
  return folder === undefined ? undefined : v2Place(folder, false);
}

function v2Place(folder: string, isInScope: boolean): CgroupPlace {
  return { version: 'v2', isInScope, memory: folder, pids: folder, cpu: undefined };
}

async function v2Scope(mounts: readonly string[][], keeper: number): Promise<CgroupPlace | undefined> {
  const root = v2Root(mounts)?.memory;
  const path = (await groupsOf(keeper)).find(([id]) => id === '0')?.[2];
  if (root === undefined || path === undefined) return undefined;
  const folder = join(root, path);
  try {
    // A group that is divided has no processes of its own.
    const aside = join(folder, 'keeper');
    await mkdir(aside);
    await writeFile(join(aside, 'cgroup.procs'), String(keeper));
  } catch {
    return undefined;
  }
  return v2Place(folder, true);
}

/** Below the group of the keeper, or below our own, so that a limit on Gantry is one on its hooks, too. */
async function v1Place(mounts: readonly string[][], keeper?: number): Promise<CgroupPlace | undefined> {
  const own = await groupsOf(keeper ?? 'self');
  const folder = async (controller: string): Promise<string | undefined> => {
    const mount = mounts.find(
      ([, , type, options]) => type === 'cgroup' && options?.split(',').includes(controller),
    )?.[1];
    const path = own.find(([, names]) => names?.split(',').includes(controller))?.[2];
    if (mount === undefined || path === undefined) return undefined;
    const below = join(mount, path);
    // In a container the path may be one of the host.
    return readdir(below).then(
      () => below,
      () => (keeper === undefined ? mount : undefined),
    );
  };
  const [memory, pids, cpu] = await Promise.all(['memory', 'pids', 'cpu'].map(folder));
  return memory && pids ? { version: 'v1', isInScope: keeper !== undefined, memory, pids, cpu } : undefined;
}

/** Id, controllers and path of each group that a process is in. */
async function groupsOf(pid: number | 'self'): Promise<string[][]> {
  const text = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
  return text.split('\n').map((line) => line.split(':'));
}

/** A group of processes with limits of its own: all processes of one hook. */
export class HookCgroup {
  readonly #memory: string;
  readonly #pids: string;
  readonly #cpu: string | undefined;

  private constructor(place: CgroupPlace, name: string) {
    this.#memory = join(place.memory, name);
    this.#pids = join(place.pids, name);
    this.#cpu = place.cpu && join(place.cpu, name);
  }

  static async make(place: CgroupPlace, limits: CgroupLimits): Promise<HookCgroup> {
    made += 1;
    const name = `${namePrefix}${await pidNamespace()}-${process.pid}-${made}`;
    const group = new HookCgroup(place, name);
    try {
      if (place.version === 'v2')
        await writeFile(join(place.memory, 'cgroup.subtree_control'), '+memory +pids +cpu');
      for (const folder of group.folders) await mkdir(folder);
      if (place.version === 'v2') await group.#limitV2(limits);
      else await group.#limitV1(limits);
    } catch (error) {
      await group.remove();
      throw error;
    }
    return group;
  }

  /** A process joins by writing 0 to `cgroup.procs` of each. */
  get folders(): string[] {
    return [...new Set([this.#memory, this.#pids, this.#cpu])].filter((folder) => folder !== undefined);
  }

  async #limitV2({ memoryBytes, processes }: CgroupLimits): Promise<void> {
    await this.#write('memory.max', memoryBytes);
    await this.#write('memory.swap.max', 0).catch(() => {}); // a kernel without swap accounting
    await this.#write('memory.oom.group', 1);
    await this.#write('pids.max', processes);
    await this.#write('cpu.weight', 50).catch(() => {});
  }

  async #limitV1({ memoryBytes, processes }: CgroupLimits): Promise<void> {
    await this.#write('memory.limit_in_bytes', memoryBytes);
    await this.#write('memory.memsw.limit_in_bytes', memoryBytes).catch(() => {}); // the same
    await writeFile(join(this.#pids, 'pids.max'), String(processes));
    // A hook that takes all it gets must not starve the server: together its processes weigh half of one other.
    if (this.#cpu) await writeFile(join(this.#cpu, 'cpu.shares'), '512');
  }

  async #write(file: string, value: number): Promise<void> {
    await writeFile(join(this.#memory, file), String(value));
  }

  /** Which limits were reached so far. */
  async reached(): Promise<('memory' | 'processes')[]> {
    const read = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');
    const memory =
      (await read(join(this.#memory, 'memory.events'))) +
      (await read(join(this.#memory, 'memory.oom_control')));
    const pids = await read(join(this.#pids, 'pids.events'));
    return [
      ...(/^oom_kill [1-9]/m.test(memory) ? (['memory'] as const) : []),
      ...(/^max [1-9]/m.test(pids) ? (['processes'] as const) : []),
    ];
  }

  /** Ends whatever is in the group, and the group. */
  async remove(): Promise<void> {
    for (let tries = 0; tries < 500; tries += 1) {
      const left = await Promise.all(this.folders.map(isLeft));
      if (!left.includes(true)) return;
      const procs = await readFile(join(this.#pids, 'cgroup.procs'), 'utf8').catch(() => '');
      for (const pid of procs.split('\n').map(Number)) if (pid > 1) kill(pid);
      await sleep(10);
    }
  }
}

/** Groups of workers that were killed. Their processes died with them. */
export async function sweepCgroups(place: CgroupPlace): Promise<void> {
  const isRunning = (pid: string): boolean => {
    try {
      process.kill(Number(pid), 0);
      return true;
    } catch {
      return false;
    }
  };
  const namespace = await pidNamespace();
  for (const folder of new Set([place.memory, place.pids, place.cpu])) {
    if (folder === undefined) continue;
    for (const name of await readdir(folder).catch(() => [])) {
      const [, of, pid = ''] = /^gantry-hook-(\d+)-(\d+)-\d+$/.exec(name) ?? [];
      if (of === namespace && !isRunning(pid)) await rmdir(join(folder, name)).catch(() => {});
    }
  }
}

async function isLeft(folder: string): Promise<boolean> {
  return rmdir(folder).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}
