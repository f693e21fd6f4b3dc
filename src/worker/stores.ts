import { existsSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { type Config, dataPaths } from '../config.ts';
import type { AppName } from '../domain/app.ts';
import { maskValues } from '../domain/mask.ts';
import { AppDeletions } from '../store/app-deletions.ts';
import { AppStore } from '../store/app-store.ts';
import { DeploymentStore } from '../store/deployment-store.ts';
import { DomainStore } from '../store/domain-store.ts';
import { NetworkPolicyStore } from '../store/network-policy-store.ts';
import { ReleaseStore } from '../store/release-store.ts';
import { RestoredAppsStore } from '../store/restored-apps-store.ts';
import { RouteChanges } from '../store/route-changes.ts';
import { RouteStore } from '../store/route-store.ts';
import type { Sealer } from '../store/sealing.ts';
import { ServiceStore } from '../store/service-store.ts';
import { ownStore } from '../store/store-id.ts';
import { TaskStore } from '../store/task-store.ts';
import { TcpPortStore } from '../store/tcp-port-store.ts';
import { VolumeStore } from '../store/volume-store.ts';

export type WorkerStores = ReturnType<typeof openStores>;

/** All that a worker reads and writes, over one connection that waits for a Redis that is away. */
export function openStores(redis: Redis, sealer: Sealer, storeId: string, { domain, dataDir }: Config) {
  const apps = new AppStore(redis, sealer);
  const deployments = new DeploymentStore(redis);
  const domains = new DomainStore(redis);
  const services = new ServiceStore(redis, sealer);
  const paths = dataPaths(dataDir);
  const isOwnStore = ownStore(redis, storeId, paths);
  /**
   * Throws when nothing may be changed: this Redis is not, or no more, the one of the data folder, or all is being taken down.
   */
  const assertOwnStore = async (): Promise<void> => {
    if (existsSync(paths.takenDown)) throw new Error('everything is taken down (gantry down --apps)');
    await isOwnStore();
  };
  /** The variables that a release was made with. */
  const releaseEnv = async (app: AppName, release: number): Promise<Record<string, string>> =>
    apps.openEnv(app, await deployments.sealedEnv(app, release));
  return {
    apps,
    deletions: new AppDeletions(redis),
    deployments,
    domains,
    policies: new NetworkPolicyStore(redis),
    releases: new ReleaseStore(redis),
    restored: new RestoredAppsStore(redis),
    routeChanges: new RouteChanges(redis),
    routes: new RouteStore(redis),
    services,
    tasks: new TaskStore(redis, sealer),
    tcpPorts: new TcpPortStore(redis),
    volumes: new VolumeStore(redis),
    assertOwnStore,
    releaseEnv,
    hosts: async (app: AppName): Promise<string[]> => [`${app}.${domain}`, ...(await domains.list(app))],
    /** What hides the values of a release's variables and of its services' credentials. */
    maskOf: async (app: AppName, release: number): Promise<(text: string) => string> => {
      const secrets = {
        ...(await releaseEnv(app, release)),
        ...services.openSecrets(app, await deployments.sealedSecrets(app, release)),
      };
      // Else nothing would be hidden.
      await assertOwnStore();
      return maskValues(secrets);
    },
  };
}
