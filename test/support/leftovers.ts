import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { gitClient } from './git.ts';
import type { Rig } from './rig.ts';

type ListedApp = { name: string; live: number | null };
type ListedDeployment = { number: number; state: string };

/** What every app may keep: `GANTRY_KEEP_RELEASES`. */
const keptReleases = 10;

/** Waits until nothing is there but what serves: on the engine, in the data folder and among the processes. */
export async function expectNothingLeftBehind(rig: Rig, limitMs = 45_000): Promise<void> {
  await expect.poll(() => leftovers(rig), { timeout: limitMs, interval: 500 }).toEqual([]);
}

/** One sentence for everything that should not be there, and for everything that should be and is not. */
export async function leftovers(rig: Rig): Promise<string[]> {
  const apps = await listApps(rig);
  const found = await Promise.all([
    unsettledDeployments(rig, apps),
    wrongContainers(rig, apps),
    wrongImages(rig, apps),
    unknownNetworks(rig, apps),
    forgottenFolders(rig),
    forgottenInRepositories(rig),
    gitProcesses(rig),
  ]);
  return found.flat();
}

async function listApps(rig: Rig): Promise<ListedApp[]> {
  return (JSON.parse((await rig.api('GET', '/apps')).body) as { apps: ListedApp[] }).apps;
}

async function listDeployments(rig: Rig, app: string): Promise<ListedDeployment[]> {
  const { body } = await rig.api('GET', `/apps/${app}/deployments`);
  return (JSON.parse(body) as { deployments: ListedDeployment[] }).deployments;
}

async function unsettledDeployments(rig: Rig, apps: readonly ListedApp[]): Promise<string[]> {
  const found = await Promise.all(
    apps.map(async ({ name }) =>
      (await listDeployments(rig, name))
        .filter(({ state }) => state === 'queued' || state === 'running')
        .map(({ number, state }) => `${name} #${number} is ${state}`),
    ),
  );
  return found.flat();
}

/** Exactly one container for every app with a live release, and none for a task. */
async function wrongContainers(rig: Rig, apps: readonly ListedApp[]): Promise<string[]> {
  const containers = await rig.docker.listContainers({ all: true, filters: await byStore(rig) });
  const there = containers.map(
    ({ Labels, State }) => `${Labels['gantry.app']} v${Labels['gantry.release']} ${State}`,
  );
  const wanted = await Promise.all(
    apps.map(async ({ name, live }) =>
      live === null || (await isTask(rig, name)) ? [] : [`${name} v${live} running`],
    ),
  );
  return [
    ...without(there, wanted.flat()).map((container) => `container left: ${container}`),
    ...without(wanted.flat(), there).map((container) => `container missing: ${container}`),
  ];
}

/** As its options say. */
async function isTask(rig: Rig, app: string): Promise<boolean> {
  const { body } = await rig.api('GET', `/apps/${app}/options`);
  return (JSON.parse(body) as { task: boolean }).task;
}

/** Images of releases only, and not more than are kept. */
async function wrongImages(rig: Rig, apps: readonly ListedApp[]): Promise<string[]> {
  const images = await rig.docker.listImages({ filters: await byStore(rig) });
  const numbers = (app: string): number[] =>
    images.flatMap(({ RepoTags }) =>
      (RepoTags ?? []).flatMap((tag) =>
        tag.includes(`/${app}:v`) ? [Number(/:v(\d+)-/.exec(tag)?.[1])] : [],
      ),
    );
  const found = await Promise.all(
    apps.map(async ({ name }) => {
      const ends = new Map(
        (await listDeployments(rig, name)).map(({ number, state }) => [number, state] as const),
      );
      const here = numbers(name);
      const wrong = here.filter((number) => (ends.get(number) ?? 'live') !== 'live');
      return [
        ...wrong.map((number) => `image of ${name} #${number}, which is ${ends.get(number)}`),
        ...(here.length > keptReleases ? [`${here.length} images of ${name}`] : []),
      ];
    }),
  );
  const nameless = images.filter(({ RepoTags }) => (RepoTags ?? []).length === 0);
  return [...found.flat(), ...nameless.map(({ Id }) => `image without a name: ${Id}`)];
}

async function unknownNetworks(rig: Rig, apps: readonly ListedApp[]): Promise<string[]> {
  const networks = await rig.docker.listNetworks({ filters: await byStore(rig) });
  const owners = networks.map(({ Labels }) => Labels?.['gantry.app'] ?? '');
  return without(
    owners,
    apps.map(({ name }) => name),
  ).map((app) => `network of ${app}`);
}

async function byStore(rig: Rig): Promise<{ label: string[] }> {
  return { label: [`gantry.store=${await rig.storeId}`] };
}

/** Checkouts of builds, which end with their deployment. */
async function forgottenFolders(rig: Rig): Promise<string[]> {
  const work = join(rig.dataDir, 'work');
  const entries = await readdir(work, { recursive: true });
  return entries.filter((entry) => entry.includes('/')).map((entry) => `work folder: ${entry}`);
}

/** Uploads that were never finished, and commits that are still held for a deployment. */
async function forgottenInRepositories(rig: Rig): Promise<string[]> {
  const root = join(rig.dataDir, 'git');
  const found = await Promise.all(
    (await readdir(root)).map(async (folder) => {
      const path = join(root, folder);
      const locks = (await readdir(path, { recursive: true })).filter((name) => name.endsWith('.lock'));
      const objects = await readdir(join(path, 'objects'), { recursive: true });
      const temporary = objects.filter((name) => /tmp_|incoming/.test(name));
      const pins = await gitClient().run(['-C', path, 'for-each-ref', '--format=%(refname)', 'refs/gantry']);
      return [...temporary, ...locks, ...pins.stdout.split('\n').filter(Boolean)].map(
        (entry) => `in ${folder}: ${entry}`,
      );
    }),
  );
  return found.flat();
}

/** git, and the hooks it starts, work in the folder of a repository. */
async function gitProcesses(rig: Rig): Promise<string[]> {
  const root = join(rig.dataDir, 'git/');
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
  const commands = await Promise.all(
    pids.map(async (pid) => {
      const folder = await readlink(`/proc/${pid}/cwd`).catch(() => '');
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      return folder.startsWith(root) || command.includes(root) ? [`${pid} ${command}`] : [];
    }),
  );
  return commands.flat().map((command) => `process: ${command.replaceAll('\0', ' ')}`);
}

/** Items of `all` that are not in `some`, as often as they are too many. */
function without(all: readonly string[], some: readonly string[]): string[] {
  const left = [...some];
  return all.filter((item) => {
    const index = left.indexOf(item);
    if (index !== -1) left.splice(index, 1);
    return index === -1;
  });
}
