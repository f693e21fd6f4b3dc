import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Linux has one table of neighbours (ARP) for all networks and containers of a machine, and these say how full it gets. */
const kernelSettings = '/proc/sys/net/ipv4/neigh/default';

/** The container here, and its gateway in there. */
const perContainer = 2;

/** For 8,000 containers. The kernel comes with 1,024 entries: from some 500 on, new ones cannot be talked to. */
const wanted = { gc_thresh3: 16_384, gc_thresh2: 8_192 };

/**
 * Makes room for as many containers as a machine can run, never less than there is. Resolves with `false` when that is not
 * for us to do, as in a container.
 */
export async function makeRoomForNeighbours(folder = kernelSettings): Promise<boolean> {
  try {
    for (const [name, entries] of Object.entries(wanted))
      if (Number(await readFile(join(folder, name), 'utf8')) < entries)
        await writeFile(join(folder, name), String(entries));
    return true;
  } catch {
    return false;
  }
}

/** How many containers this machine can talk to; `undefined`: that is not to be seen from here. */
export async function reachableContainers(folder = kernelSettings): Promise<number | undefined> {
  const entries = await readFile(join(folder, 'gc_thresh3'), 'utf8').catch(() => undefined);
  return entries === undefined ? undefined : Math.floor(Number(entries) / perContainer);
}
