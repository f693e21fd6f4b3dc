import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { gitClient } from './git.ts';
import { leftovers } from './leftovers.ts';
import { processesOf } from './processes.ts';
import { type Rig, until } from './rig.ts';

/** The same once all that goes on after a deployment has ended, as draining what it replaced. */
export async function settledInventory(rig: Rig): Promise<string[]> {
  await until('only what serves is there', async () => (await leftovers(rig)).length === 0, 45_000);
  return inventory(rig);
}

/** Everything a deployment could leave behind, a line each: two of them are compared. */
export async function inventory(rig: Rig): Promise<string[]> {
  const found = await Promise.all([onTheEngine(rig), folders(rig), refs(rig), processes(rig)]);
  return found.flat().toSorted();
}

async function onTheEngine(rig: Rig): Promise<string[]> {
  const { docker } = rig;
  const filters = { label: [`gantry.store=${await rig.storeId}`] };
  const [containers, images, networks, volumes] = await Promise.all([
    docker.listContainers({ all: true, filters }),
    docker.listImages({ filters }),
    docker.listNetworks({ filters }),
    docker.listVolumes({ filters }),
  ]);
  return [
    ...containers.map(({ Names, Id, State }) => `container ${Names[0]} ${Id} ${State}`),
    ...images.map(({ RepoTags, Id }) => `image ${(RepoTags ?? []).toSorted().join(' ')} ${Id}`),
    ...networks.map(({ Name, Id }) => `network ${Name} ${Id}`),
    ...(volumes.Volumes ?? []).map(({ Name }) => `volume ${Name}`),
  ];
}

/** But for what changes by right: logs, known hosts, the objects of git, the files of Redis, and how far the store has come. */
async function folders(rig: Rig): Promise<string[]> {
  const entries = await readdir(rig.dataDir, { recursive: true });
  return entries
    .filter(
      (entry) =>
        !/^redis\/|^(app-)?logs(\/|$)|^known-hosts|\.git\/objects\/|\.sock$|^store-epoch/.test(entry),
    )
    .map((entry) => `file ${entry}`);
}

async function refs(rig: Rig): Promise<string[]> {
  const root = join(rig.dataDir, 'git');
  const found = await Promise.all(
    (await readdir(root)).map(async (repository) => {
      const { stdout } = await gitClient().run(['-C', join(root, repository), 'for-each-ref']);
      return stdout.split('\n').filter(Boolean);
    }),
  );
  return found.flat().map((ref) => `ref ${ref}`);
}

/** Of our own folder; what runs inside a container or in a hook's box is known by the test that put it there. */
async function processes(rig: Rig): Promise<string[]> {
  return (await processesOf(rig.dataDir)).map((line) => `process ${line}`);
}
