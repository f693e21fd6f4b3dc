import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { awaitCollected } from './app-log/await-collected.ts';
import { AppLogCollector } from './app-log/collector.ts';
import { appUrl, type Config, dataPaths } from './config.ts';
import { freeAddress, subnetAt, subnetIndex } from './deploy/container-spec.ts';
import { sweepCgroups } from './deploy/hook-cgroup.ts';
import { probeHookHost } from './deploy/hook-host.ts';
import { lookAtInstances } from './deploy/look-at-instances.ts';
import { describeLevel } from './deploy/sandbox-level.ts';
import {
  type SweepFacts,
  sweepCheckouts,
  sweepContainers,
  sweepImages,
  sweepNetworks,
  sweepVolumes,
} from './deploy/sweep.ts';
import { deployTools, imageSpace } from './deploy-tools.ts';
import { DockerodeEngine } from './docker/dockerode-engine.ts';
import type { AppName } from './domain/app.ts';
import { labels } from './domain/container.ts';
import { planGates } from './domain/gate.ts';
import { maskValues } from './domain/mask.ts';
import type { Measure } from './domain/measurement.ts';
import { gateImage } from './gates/gate-image.ts';
import { GateKeeper } from './gates/gate-keeper.ts';
import { Repositories } from './git/repositories.ts';
import type { Logger } from './logger.ts';
import { CronSchedule, CronWorker } from './queue/cron-schedule.ts';
import { DeployQueue } from './queue/deploy-queue.ts';
import { DeployWorker } from './queue/deploy-worker.ts';
import { Reconciler } from './queue/reconciler.ts';
import { ServiceKeeper } from './queue/service-keeper.ts';
import { TaskQueue } from './queue/task-queue.ts';
import { TaskWorker } from './queue/task-worker.ts';
import { AppDeletions } from './store/app-deletions.ts';
import { AppLogWriter } from './store/app-log-writer.ts';
import { AppStore } from './store/app-store.ts';
import { DeploymentStore } from './store/deployment-store.ts';
import { DomainStore } from './store/domain-store.ts';
import { HealthStore } from './store/health-store.ts';
import { InstanceStore } from './store/instance-store.ts';
import { keys, type StoreEvent } from './store/keys.ts';
import { LeaseStore } from './store/lease-store.ts';
import { LogWriter } from './store/log-writer.ts';
import { NetworkPolicyStore } from './store/network-policy-store.ts';
import { checkRedis, hastyRedis, patientRedis, type RedisAddress } from './store/redis.ts';
import { ReleaseStore } from './store/release-store.ts';
import { RouteChanges } from './store/route-changes.ts';
import { RouteStore } from './store/route-store.ts';
import { loadSealer } from './store/sealing.ts';
import { ServiceStore } from './store/service-store.ts';
import { StoreEvents } from './store/store-events.ts';
import { checkStoreId } from './store/store-id.ts';
import { TaskStore } from './store/task-store.ts';
import { TcpPortStore } from './store/tcp-port-store.ts';
import { TerminalChannels } from './store/terminal-channel.ts';
import { TurnStore } from './store/turn-store.ts';
import { VolumeStore } from './store/volume-store.ts';

const maxRuns = 3;
const reconcileEveryMs = 5000;
const sweepEveryMs = 30_000;
/** A database makes its files when it starts for the first time, and writes them out when it stops. */
const serviceReadyMs = 120_000;
const serviceGraceMs = 30_000;

export type RunningWorker = { stop: () => Promise<void> };

/** The deploying process: takes deployments from the queue and talks to the Docker engine. */
export async function startWorker(
  config: Config,
  redisAddress: RedisAddress,
  logger: Logger,
): Promise<RunningWorker> {
  const paths = dataPaths(config.dataDir);
  await mkdir(paths.work, { recursive: true, mode: 0o700 });
  await mkdir(paths.serviceCopies, { recursive: true, mode: 0o700 });
  process.umask(0o022); // files of a checkout get the modes that git defines

  const connections: Redis[] = [];
  const connect = (): Redis => {
    const redis = patientRedis(redisAddress);
    connections.push(redis);
    return redis;
  };
  const redis = connect();
  for (const warning of await checkRedis(redis)) logger.warn(warning);
  const storeId = await checkStoreId(redis, paths.storeId);
  const storeTag = storeId.slice(0, 6);

  const sealer = loadSealer(paths.keys, false);
  const apps = new AppStore(redis, sealer);
  const tasks = new TaskStore(redis, sealer);
  const deletions = new AppDeletions(redis);
  const deployments = new DeploymentStore(redis);
  const routeChanges = new RouteChanges(redis);
  const routes = new RouteStore(redis);
  const releases = new ReleaseStore(redis);
  const volumes = new VolumeStore(redis);
  const services = new ServiceStore(redis, sealer);
  const domains = new DomainStore(redis);
  const hosts = async (app: AppName): Promise<string[]> => [
    `${app}.${config.domain}`,
    ...(await domains.list(app)),
  ];
  const events = new StoreEvents(connect());
  await events.start();
  const repositories = new Repositories(paths.repositories);
  const turns = new TurnStore(redis, keys.collector);
  const announce = async (event: StoreEvent): Promise<void> =>
    void (await redis.publish(keys.channel, JSON.stringify(event)));
  const measure: Measure = (measurement) =>
    void announce({ kind: 'measured', ...measurement }).catch((err: unknown) =>
      logger.debug({ err }, 'not measured'),
    );
  const onDropped = (lines: number): void => measure({ name: 'log_lines_dropped_total', value: lines });
  const engine: DockerodeEngine = new DockerodeEngine({
    socketPath: config.dockerSocket,
    beforeRemoval: (container) => awaitCollected({ engine, turns, events, announce }, container),
    onTidyError: (err) =>
      logger.warn({ err }, 'leftovers of a build were not removed; the next build tries again'),
  });
  await engine.check().catch((err: unknown) => logger.error({ err }, 'the Docker engine cannot be used now'));
  const queue = new DeployQueue(connect());
  const taskQueue = new TaskQueue(connect());
  const cron = new CronSchedule(connect());
  const hasty = hastyRedis(redisAddress);
  connections.push(hasty);

  const sandbox = await probeHookHost(config.hookSandbox, config.hookUser);
  if ('level' in sandbox.choice)
    logger.info({ level: describeLevel(sandbox.choice.level) }, 'hooks are sandboxed');
  else logger.warn({ reason: sandbox.choice.refused }, 'hooks are refused; gantry doctor says what to do');
  if (sandbox.cgroup) await sweepCgroups(sandbox.cgroup);
  const toolsFor = deployTools({
    config,
    engine,
    repositories,
    sandbox,
    stores: { apps, deletions, deployments, releases, routes, routeChanges, volumes },
    events,
    freeImages: async (app) => (await sweepImages(sweep, app)).freed,
    measure,
    storeId,
  });

  const health = new HealthStore(redis);
  const sweep: SweepFacts = {
    engine,
    storeId,
    route: (app) => routes.get(app),
    deployment: (app, number) => deployments.get(app, number),
    task: (app, number) => tasks.get(app, number),
    releases: (app) => releases.numbers(app),
    keepReleases: config.keepReleases,
    markFreed: (app, number) => releases.markFreed(app, number),
    forgetRelease: (app, number) => releases.forget(app, number),
    desired: (app) => deployments.desired(app),
    options: (app) => apps.options(app),
    doomedVolumes: () => volumes.doomed(),
    forgetVolume: (app, volume) => volumes.forget(app, volume),
    noteServing: async (app, containers) => {
      const restarts = await health.look(
        app,
        containers.map(({ id, labels: { [labels.release]: release }, running, restartCount }) => ({
          id,
          release: Number(release),
          running,
          restartCount,
        })),
      );
      if (restarts > 0) measure({ name: 'container_restarts_total', value: restarts });
    },
    onAction: (action) => measure({ name: 'reconcile_actions_total', label: action, value: 1 }),
    storeTag,
    stopTimeoutMs: config.stopTimeoutMs,
    workDir: paths.work,
  };
  // Apps whose images were not tidied: the engine was away, or the worker died before it came to that.
  const untidy = new Set((await apps.list()).map(({ name }) => name));
  const tidyImages = async (app: AppName): Promise<void> => {
    untidy.add(app);
    const { isDone } = await sweepImages(sweep, app);
    const live = (await apps.get(app))?.live;
    const release = live === undefined ? undefined : await releases.get(app, live);
    await cron.match(app, release?.cron ?? []);
    if (isDone) untidy.delete(app);
  };
  const cronWorker = new CronWorker({
    connection: connect(),
    isStopped: async (app) => (await apps.get(app))?.stopped !== undefined,
    tasks,
    taskQueue,
    logger,
  });
  const taskWorker = new TaskWorker({
    connection: connect(),
    tasks,
    apps,
    deployments,
    releases,
    services,
    hosts,
    routes,
    events,
    // A task changes no route, so there is nothing a stale one could do.
    tools: toolsFor(0),
    terminals: new TerminalChannels(hasty, connect(), sealer),
    terminalGraceMs: config.terminalGraceMs,
    openLog: ({ app, number }, fence, mask) => {
      const [owner, log] = [keys.task(app, number), keys.taskLog(app, number)];
      return new LogWriter({ redis, owner, log, fence, mask, onDropped });
    },
    logger,
  });
  const worker = new DeployWorker({
    connection: connect(),
    concurrency: config.concurrency,
    queue,
    leases: new LeaseStore(redis),
    events,
    afterwards: async (app) => {
      await tidyImages(app);
      sweepNow();
    },
    deps: {
      apps,
      deletions,
      deployments,
      releases,
      routes,
      tcpPorts: new TcpPortStore(redis),
      services,
      hosts,
      tools: (lease) => toolsFor(lease.fence),
      openLog: ({ app, number }, fence, mask) =>
        new LogWriter({ redis, owner: keys.app(app), log: keys.log(app, number), fence, mask, onDropped }),
      appUrl: (app: AppName) => appUrl(config, app),
      cancelOnPush: config.cancelOnPush,
      maxRuns,
      logger,
    },
  });

  let sweeping: Promise<unknown> = Promise.resolve();
  const measureRoom = async (): Promise<void> => {
    const images = await imageSpace(engine);
    if (images) measure({ name: 'disk_free_bytes', label: 'images', value: images.bytes });
  };
  const sweepNow = (): void => {
    sweeping = sweeping
      .then(measureRoom)
      .then(() => sweepCheckouts(sweep))
      .then(() => sweepContainers(sweep))
      .then(() => sweepVolumes(sweep))
      .then(() => sweepNetworks(sweep))
      .then(() => Promise.all([...untidy].map(tidyImages)))
      .catch((err: unknown) => logger.debug({ err }, 'sweep failed'));
  };
  const stopListening = events.listen((event) => {
    if (event.kind === 'drained') sweepNow();
  });
  const sweepTimer = setInterval(sweepNow, sweepEveryMs);
  const reconciler = new Reconciler({
    deployments,
    queue,
    tasks,
    taskQueue,
    measure,
    everyMs: reconcileEveryMs,
    logger,
  });
  const releaseEnv = async (app: AppName, release: number) =>
    apps.openEnv(app, await deployments.sealedEnv(app, release));
  const ports = new TcpPortStore(redis);
  const instanceFacts = {
    engine,
    storeId,
    route: (app: AppName) => routes.get(app),
    deployment: (app: AppName, number: number) => deployments.get(app, number),
    env: releaseEnv,
    tcpPort: (app: AppName) => ports.get(app),
  };
  const collector = new AppLogCollector({
    engine,
    mark: `${labels.store}=${storeId}`,
    turns,
    events,
    openLog: (app) =>
      AppLogWriter.open(join(paths.appLogs, app), config.appLogBytes, (err, lines) => {
        logger.warn({ err, app, lines }, 'lines of the app are not kept');
        onDropped(lines);
      }),
    maskOf: async (app, release) =>
      maskValues({
        ...(await releaseEnv(app, release)),
        ...services.openSecrets(app, await deployments.sealedSecrets(app, release)),
      }),
    announce: (container) => announce({ kind: 'collected', container }),
    onDropped,
    logger,
  });
  collector.start();
  const policies = new NetworkPolicyStore(redis);
  const gates = new GateKeeper({
    engine,
    storeId,
    storeTag,
    turns: new TurnStore(redis, keys.gateKeeper),
    events,
    routes,
    wishes: async () => {
      const [all, names] = await Promise.all([policies.list(), domains.internal()]);
      const apps = [...new Set(all.flatMap(({ source, destination }) => [source, destination]))];
      const going = await Promise.all(apps.map(async (app) => (await deletions.get(app)) && app));
      const staying = all.filter((one) => !going.includes(one.source) && !going.includes(one.destination));
      return planGates(staying, names);
    },
    image: () => gateImage(storeTag),
    freeAddress: (subnet, taken) => freeAddress(subnet, taken, 12),
    drainTimeoutMs: config.drainTimeoutMs,
    logger,
  });
  gates.start();
  const instances = new InstanceStore(redis, events);
  const stopTelling = events.listen((event) => {
    if (event.kind !== 'instances asked') return;
    void lookAtInstances(instanceFacts, event.app)
      .then((found) => instances.tell(event.id, found))
      .catch((err: unknown) => logger.warn({ err, app: event.app }, 'instances could not be looked at'));
  });
  const keeper = new ServiceKeeper({
    services,
    tools: {
      engine,
      storeId,
      storeTag,
      allocateSubnet: async (service, taken) =>
        subnetAt(config.subnets, await services.subnetIndex(service, taken.map(subnetIndex))),
      limits: {
        readyMs: Math.max(config.healthTimeoutMs, serviceReadyMs),
        pullMs: config.buildTimeoutMs,
        graceMs: Math.max(config.stopTimeoutMs, serviceGraceMs),
        memoryBytes: config.appMemoryBytes,
        diskFloorBytes: config.diskFloorBytes,
      },
    },
    copies: paths.serviceCopies,
    turnOf: (service) => new TurnStore(redis, keys.serviceTurn(service)),
    events,
    logger,
  });
  worker.start();
  keeper.start();
  taskWorker.start();
  cronWorker.start();
  reconciler.start();
  sweepNow();
  logger.info({ concurrency: config.concurrency }, 'worker started');

  return {
    stop: async () => {
      clearInterval(sweepTimer);
      stopListening();
      await reconciler.stop();
      await Promise.all([worker.close(), keeper.stop(), taskWorker.close(), cronWorker.close()]);
      await sweeping;
      stopTelling();
      await Promise.all([collector.stop(), gates.stop()]);
      await engine.close();
      await Promise.all([queue.close(), taskQueue.close(), cron.close()]);
      events.close();
      for (const connection of connections) connection.disconnect();
      logger.info('worker stopped');
    },
  };
}
