import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { readConfig } from '../../src/config.ts';
import { AppDeletions } from '../../src/store/app-deletions.ts';
import { AppStore } from '../../src/store/app-store.ts';
import { DeploymentStore } from '../../src/store/deployment-store.ts';
import { ReleaseStore } from '../../src/store/release-store.ts';
import { RouteChanges } from '../../src/store/route-changes.ts';
import { RouteStore } from '../../src/store/route-store.ts';
import { loadSealer } from '../../src/store/sealing.ts';

/** The settings of a worker in the model: its containers are dialled on loopback, where something always answers. */
export function modelConfig(dir: string) {
  return readConfig({
    GANTRY_DATA: dir,
    GANTRY_SUBNETS: '127.77.0.0/16',
    GANTRY_KEEP_RELEASES: '4',
    GANTRY_HEALTH_TIMEOUT: '5',
    GANTRY_DISK_FLOOR: '0',
  });
}

export async function openStores(redis: Redis, dir: string) {
  const sealer = await loadSealer(join(dir, 'keys'), true);
  return {
    sealer,
    apps: new AppStore(redis, sealer),
    deployments: new DeploymentStore(redis),
    deletions: new AppDeletions(redis),
    releases: new ReleaseStore(redis),
    routes: new RouteStore(redis),
    routeChanges: new RouteChanges(redis),
  };
}
