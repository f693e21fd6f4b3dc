import { readFile, realpath, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { type Config, dataPaths } from '../config.ts';
import type { DeployTools } from '../deploy/attempt.ts';
import { subnetAt, subnetIndex } from '../deploy/container-spec.ts';
import type { HookHost } from '../deploy/hook-host.ts';
import { type HookResult, type HookRun, runInSandbox } from '../deploy/hook-sandbox.ts';
import type { DockerodeEngine } from '../docker/dockerode-engine.ts';
import { Stopped } from '../domain/deployment.ts';
import type { Measure } from '../domain/measurement.ts';
import type { Repositories } from '../git/repositories.ts';
import { fetchSubmodules } from '../git/submodules.ts';
import { planGoBack } from '../queue/plan-go-back.ts';
import type { StoreEvents } from '../store/store-events.ts';
import type { WorkerStores } from './stores.ts';

/** How long a deployment waits for a router that is away before it is taken back. */
const switchTimeoutMs = 300_000;

export type DeployParts = {
  config: Config;
  engine: DockerodeEngine;
  repositories: Repositories;
  sandbox: HookHost;
  stores: Pick<
    WorkerStores,
    'apps' | 'deletions' | 'deployments' | 'releases' | 'routes' | 'routeChanges' | 'volumes'
  >;
  events: StoreEvents;
  freeImages: DeployTools['freeImages'];
  measure: Measure;
  storeId: string;
};

/** The world as the pipeline sees it; what changes a route needs the fence of the app's lease. */
export function deployTools({
  config,
  engine,
  repositories,
  sandbox,
  stores,
  events,
  freeImages,
  measure,
  storeId,
}: DeployParts): (fence: number) => DeployTools {
  const { apps, deletions, deployments, releases, routes, routeChanges, volumes } = stores;
  const paths = dataPaths(config.dataDir);
  const limits = {
    buildTimeoutMs: config.buildTimeoutMs,
    hookTimeoutMs: config.hookTimeoutMs,
    hookMemoryBytes: config.hookMemoryBytes,
    hookProcesses: config.hookProcesses,
    healthTimeoutMs: config.healthTimeoutMs,
    stopTimeoutMs: config.stopTimeoutMs,
    drainTimeoutMs: config.drainTimeoutMs,
    memoryBytes: config.appMemoryBytes,
    switchTimeoutMs,
    diskFloorBytes: config.diskFloorBytes,
  };
  return (fence) => ({
    engine,
    repository: (app) => repositories.open(app),
    fetchSubmodules: ({ app, ...request }) =>
      fetchSubmodules(
        {
          ...request,
          repository: repositories.open(app),
          knownHostsFile: join(paths.knownHosts, app),
        },
        { allowedInternal: config.allowedInternal, caFile: config.gitCaFile },
      ),
    runHook: (run) => runHook(config, sandbox, run),
    allocateSubnet: async (app, taken, network) =>
      subnetAt(config.subnets, await apps.subnetIndex(app, taken.map(subnetIndex), network)),
    switchRoute: async ({ deployment }, endpoints, image, back) => {
      const answer = await routeChanges.switch(
        deployment.app,
        deployment.number,
        fence,
        endpoints,
        image,
        back,
      );
      if (answer === 'stale') throw new Stopped({ kind: 'lease lost' });
      if ('cancelled' in answer) throw new Stopped({ kind: 'cancelled', reason: answer.cancelled });
      if (back) await volumes.follow(deployment.app, back.options);
      return answer.version;
    },
    planGoBack: ({ deployment }) => planGoBack({ apps, deployments, releases }, deployment),
    pauseRoute: async (app) => {
      const answer = await routeChanges.pause(app, fence);
      if (answer === 'stale') throw new Stopped({ kind: 'lease lost' });
      return { ...answer, endpoints: (await routes.get(app))?.paused ?? [] };
    },
    resumeRoute: async (app, containers) => {
      const answer = await routeChanges.resume(app, fence, containers);
      if (answer === 'stale') throw new Stopped({ kind: 'lease lost' });
      return answer.version;
    },
    serve: async (app, serving) => {
      const answer = await routeChanges.serve(app, fence, serving);
      if (answer === 'stale') throw new Stopped({ kind: 'lease lost' });
      return answer.version;
    },
    stopRoute: async (app) => {
      const answer = await routeChanges.stop(app, fence);
      if (answer === 'stale') throw new Stopped({ kind: 'lease lost' });
      return answer === 'not now' ? undefined : answer.version;
    },
    markStopped: (app) => routeChanges.markStopped(app, fence),
    paused: async (app) => (await routes.get(app))?.paused ?? [],
    imageLogin: (app, host) => apps.imageLogin(app, host),
    recordPublished: ({ deployment }, reference) =>
      deployments.recordPublished(deployment.app, deployment.number, reference),
    registry: config.registry.place,
    registryLogin: () => readRegistryLogin(config),
    recordDigest: ({ deployment }, digest) =>
      deployments.recordDigest(deployment.app, deployment.number, digest),
    recordCron: ({ deployment }, entries) =>
      deployments.recordCron(deployment.app, deployment.number, entries),
    markEmptied: (app) => deletions.markEmptied(app, fence),
    freeSpace: () => freeSpace(paths.work, engine),
    freeImages,
    trimBuildCache: () => engine.trimBuildCache(config.buildCacheBytes),
    takeTrimmedBytes: () => engine.takeTrimmedBytes(),
    switchBack: ({ deployment }) => routeChanges.switchBack(deployment.app, deployment.number, fence),
    routeApplied: (app, version, limitMs, signal) =>
      events.until(
        () => routes.isApplied(app, version),
        (event) => event.kind === 'applied' && event.app === app,
        limitMs,
        signal,
      ),
    drained: (app, limitMs) =>
      events.until(
        async () => ((await routes.get(app))?.draining ?? []).length === 0,
        (event) => event.kind === 'drained' && event.app === app,
        limitMs,
      ),
    measure,
    workDir: paths.work,
    dockerSocket: config.dockerSocket,
    storeTag: storeId.slice(0, 6),
    storeId,
    fence,
    limits,
  });
}

type FreeSpace = { folder: string; of: string; bytes: number };

async function freeSpace(dataFolder: string, engine: DockerodeEngine): Promise<FreeSpace[]> {
  const found = await Promise.all([spaceIn(dataFolder, 'checkouts'), imageSpace(engine)]);
  return found.filter((place) => place !== undefined);
}

/** The engine's folder is not to be seen from a container, but its disk is the one of the volumes there. */
export async function imageSpace(engine: DockerodeEngine): Promise<FreeSpace | undefined> {
  const folder = await engine.storageFolder().catch(() => undefined);
  return folder === undefined ? undefined : spaceIn(folder, 'images of the Docker engine');
}

async function spaceIn(folder: string, of: string): Promise<FreeSpace | undefined> {
  const stat = await statfs(folder).catch(() => undefined);
  return stat && { folder, of, bytes: stat.bavail * stat.bsize };
}

async function runHook(config: Config, host: HookHost, run: HookRun): Promise<HookResult> {
  const { choice, user, cgroup } = host;
  if ('refused' in choice || !user)
    return { kind: 'refused', reason: 'refused' in choice ? choice.refused : 'there is no user for hooks' };
  const dockerSocket = await realpath(config.dockerSocket).catch(() => undefined);
  return runInSandbox(run, {
    ...user,
    walls: choice.level.walls,
    cgroup,
    dataDir: config.dataDir,
    dockerSocket,
    timeoutMs: config.hookTimeoutMs,
    memoryBytes: config.hookMemoryBytes,
    processes: config.hookProcesses,
  });
}

/** Read each time, so that it can be changed while we run. */
async function readRegistryLogin({
  registry,
}: Config): Promise<{ username: string; password: string } | undefined> {
  const { username, passwordFile } = registry;
  if (username === undefined || passwordFile === undefined) return undefined;
  return { username, password: (await readFile(passwordFile, 'utf8')).trim() };
}
