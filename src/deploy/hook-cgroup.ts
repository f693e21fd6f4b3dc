import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Where groups can be made: one folder for all controllers (v2), or one for each (v1). */
export type CgroupPlace = { version: 'v2' | 'v1'; memory: string; pids: string; cpu: string | undefined };

export type CgroupLimits = { memoryBytes: number; processes: number };

const namePrefix = 'gantry-hook-';
let made = 0;

/** Finds a place where this process may limit memory and processes of a group. Nothing: it may not. */
export async function findCgroupPlace(): Promise<CgroupPlace | undefined> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8').catch(() => ''))
    .split('\n')
    .map((line) => line.split(' '));
  for (const place of [v2Place(mounts), await v1Place(mounts)]) {
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

function v2Place(mounts: readonly string[][]): CgroupPlace | undefined {
  const folder = mounts.find(([, , type]) => type === 'cgroup2')?.[1];
  return folder === undefined ? undefined : { version: 'v2', memory: folder, pids: folder, cpu: undefined };
}

/** Below our own group, so that a limit on Gantry is one on its hooks, too. */
async function v1Place(mounts: readonly string[][]): Promise<CgroupPlace | undefined> {
  const own = (await readFile('/proc/self/cgroup', 'utf8').catch(() => '')).split('\n');
  const folder = async (controller: string): Promise<string | undefined> => {
    const mount = mounts.find(
      ([, , type, options]) => type === 'cgroup' && options?.split(',').includes(controller),
    )?.[1];
    const path = own
      .map((line) => line.split(':'))
      .find(([, names]) => names?.split(',').includes(controller));
    if (mount === undefined || path === undefined) return undefined;
    const below = join(mount, path[2] ?? '');
    // In a container the path may be one of the host.
    return readdir(below).then(
      () => below,
      () => mount,
    );
  };
  const [memory, pids, cpu] = await Promise.all(['memory', 'pids', 'cpu'].map(folder));
  return memory && pids ? { version: 'v1', memory, pids, cpu } : undefined;
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
    const group = new HookCgroup(place, `${namePrefix}${process.pid}-${made}`);
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
  for (const folder of new Set([place.memory, place.pids, place.cpu])) {
    if (folder === undefined) continue;
    for (const name of await readdir(folder).catch(() => [])) {
      const pid = /^gantry-hook-(\d+)-\d+$/.exec(name)?.[1];
      if (pid !== undefined && !isRunning(pid)) await rmdir(join(folder, name)).catch(() => {});
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
