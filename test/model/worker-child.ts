import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type SweepFacts, sweepContainers, sweepImages } from '../../src/deploy/sweep.ts';
import type { AppName } from '../../src/domain/app.ts';
import type { Repositories } from '../../src/git/repositories.ts';
import { createLogger } from '../../src/logger.ts';
import { DeployQueue } from '../../src/queue/deploy-queue.ts';
import { DeployWorker } from '../../src/queue/deploy-worker.ts';
import { Reconciler } from '../../src/queue/reconciler.ts';
import { TaskQueue } from '../../src/queue/task-queue.ts';
import { keys } from '../../src/store/keys.ts';
import { LeaseStore } from '../../src/store/lease-store.ts';
import { LogWriter } from '../../src/store/log-writer.ts';
import { patientRedis } from '../../src/store/redis.ts';
import { ServiceStore } from '../../src/store/service-store.ts';
import { StoreEvents } from '../../src/store/store-events.ts';
import { TaskStore } from '../../src/store/task-store.ts';
import { TcpPortStore } from '../../src/store/tcp-port-store.ts';
import { VolumeStore } from '../../src/store/volume-store.ts';
import { deployTools } from '../../src/worker/deploy-tools.ts';
import { ScriptedEngine } from './scripted-engine.ts';
import { modelConfig, openStores } from './stores.ts';

// A worker of the model in a process of its own, which may be killed at any moment. All of it is the real one but the
// engine and git.

const [socket = '', dir = ''] = process.argv.slice(2);
const connect = () => patientRedis({ socket });
const redis = connect();
const config = modelConfig(dir);
const storeId = 'model-store';
const stores = await openStores(redis, dir);
const { apps, deletions, deployments, releases, routes, routeChanges, sealer } = stores;
const engineRedis = connect();
const engine = ScriptedEngine.over(engineRedis);
const events = new StoreEvents(connect());
await events.start();
const logger = createLogger(process.env.MODEL_LOG ?? 'silent', 'model');

const repository = {
  checkout: async (_: string, folder: string) => {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\nCMD ["serve"]\n');
  },
  isAt: async () => true,
};
const facts: SweepFacts = {
  engine,
  storeId,
  assertOwnStore: async () => {},
  route: (app) => routes.get(app),
  deployment: (app, number) => deployments.get(app, number),
  task: async () => undefined,
  releases: (app) => releases.numbers(app),
  keepReleases: config.keepReleases,
  markFreed: (app, number) => releases.markFreed(app, number),
  forgetRelease: (app, number) => releases.forget(app, number),
  desired: (app) => deployments.desired(app),
  options: (app) => apps.options(app),
  doomedVolumes: async () => [],
  forgetVolume: async () => {},
  noteServing: async () => {},
  onAction: () => {},
  storeTag: storeId.slice(0, 6),
  stopTimeoutMs: 0,
  workDir: join(dir, 'work'),
};
const toolsFor = deployTools({
  config,
  engine,
  repositories: { open: () => repository } as unknown as Repositories,
  sandbox: { choice: { refused: 'there are no hooks', fix: '' }, user: undefined, cgroup: undefined },
  stores: { apps, deletions, deployments, releases, routes, routeChanges, volumes: new VolumeStore(redis) },
  events,
  freeImages: async (app) => (await sweepImages(facts, app)).freed,
  measure: () => {},
  storeId,
});
const queue = new DeployQueue(connect());
const leases = new LeaseStore(redis);
const worker = new DeployWorker({
  connection: connect(),
  concurrency: 24,
  queue,
  leases,
  events,
  assertOwnStore: async () => {},
  afterwards: async (app) => void (await sweepImages(facts, app)),
  deps: {
    apps,
    deletions,
    deployments,
    releases,
    routes,
    routeChanges,
    tcpPorts: new TcpPortStore(redis),
    services: new ServiceStore(redis, sealer),
    hosts: async () => [],
    tools: ({ fence }) => ({ ...toolsFor(fence), engine: ScriptedEngine.over(engineRedis, fence) }),
    openLog: ({ app, number }, fence, mask) =>
      new LogWriter({ redis, owner: keys.app(app), log: keys.log(app, number), fence, mask }),
    appUrl: (app: AppName) => `http://${app}.model`,
    cancelOnPush: true,
    maxRuns: 3,
    logger,
  },
});
const reconciler = new Reconciler({
  deployments,
  leases,
  queue,
  tasks: new TaskStore(redis, sealer),
  taskQueue: new TaskQueue(connect()),
  assertOwnStore: async () => {},
  measure: () => {},
  everyMs: 1000,
  logger,
});
worker.start();
reconciler.start();
for (;;) {
  await sweepContainers(facts).catch((err: unknown) => logger.warn({ err }, 'sweep failed'));
  await new Promise((resolve) => setTimeout(resolve, 1000));
}
