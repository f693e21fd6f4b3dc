import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { awaitCollected } from './app-log/await-collected.ts';
import { AppLogCollector } from './app-log/collector.ts';
import { appUrl, type Config, dataPaths } from './config.ts';
import { sweepCgroups } from './deploy/hook-cgroup.ts';
import { type HookHost, probeHookHost } from './deploy/hook-host.ts';
import { lookAtInstances } from './deploy/look-at-instances.ts';
import { describeLevel } from './deploy/sandbox-level.ts';
import { DockerodeEngine } from './docker/dockerode-engine.ts';
import { makeRoomForNeighbours } from './docker/neighbours.ts';
import { type AppName, showTrouble } from './domain/app.ts';
import { labels } from './domain/container.ts';
import type { Measure } from './domain/measurement.ts';
import { failpoint } from './failpoint.ts';
import { Repositories } from './git/repositories.ts';
import type { Logger } from './logger.ts';
import { CronSchedule, CronWorker } from './queue/cron-schedule.ts';
import { DeployQueue } from './queue/deploy-queue.ts';
import { DeployWorker } from './queue/deploy-worker.ts';
import { Reconciler } from './queue/reconciler.ts';
import { RestoredApps } from './queue/restored-apps.ts';
import { TaskQueue } from './queue/task-queue.ts';
import { TaskWorker } from './queue/task-worker.ts';
import { AppLogWriter } from './store/app-log-writer.ts';
import { Connections } from './store/connections.ts';
import { HealthStore } from './store/health-store.ts';
import { InstanceStore } from './store/instance-store.ts';
import { keys, type StoreEvent } from './store/keys.ts';
import { LeaseStore } from './store/lease-store.ts';
import { LogWriter } from './store/log-writer.ts';
import { checkRedis, type RedisAddress } from './store/redis.ts';
import { loadSealer } from './store/sealing.ts';
import { StoreEvents } from './store/store-events.ts';
import { checkStoreId } from './store/store-id.ts';
import { TerminalChannels } from './store/terminal-channel.ts';
import { TurnStore } from './store/turn-store.ts';
import { deployTools } from './worker/deploy-tools.ts';
import { gateKeeper, serviceKeeper } from './worker/guests.ts';
import { noteServing, servingKeeper } from './worker/serving.ts';
import { openStores } from './worker/stores.ts';
import { Sweeper } from './worker/sweeper.ts';

const maxRuns = 3;
const reconcileEveryMs = 5000;

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
  await rm(paths.takenDown, { force: true });
  process.umask(0o022); // files of a checkout get the modes that git defines

  const connections = new Connections(redisAddress);
  const redis = connections.patient();
  for (const warning of await checkRedis(redis)) logger.warn(warning);
  const storeId = await checkStoreId(redis, paths);

  const sealer = await loadSealer(paths.keys, false);
  const stores = openStores(redis, sealer, storeId, config);
  const { apps, deployments, releases, routes, services, tasks, assertOwnStore } = stores;
  const events = new StoreEvents(connections.patient());
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
    beforeRemoval: (container) => awaitCollected({ engine, events, announce }, container),
    onTidyError: (err) =>
      logger.warn({ err }, 'leftovers of a build were not removed; the next build tries again'),
  });
  await engine.check().catch((err: unknown) => logger.error({ err }, 'the Docker engine cannot be used now'));
  if (!(await makeRoomForNeighbours()))
    logger.debug(
      'the limit of neighbours of this machine stays as it is; gantry doctor says when it is too low',
    );
  const queue = new DeployQueue(connections.patient());
  const taskQueue = new TaskQueue(connections.patient());
  const cron = new CronSchedule(connections.patient());

  const note = noteServing({ engine, stores, measure, health: new HealthStore(redis) });
  const sweeper = new Sweeper({
    config,
    engine,
    storeId,
    stores,
    events,
    cron,
    noteServing: (app, containers) => note(app, containers, new Map()),
    measure,
    logger,
  });
  const toolsFor = deployTools({
    config,
    engine,
    repositories,
    sandbox: await probeSandbox(config, logger),
    stores,
    events,
    freeImages: (app) => sweeper.freeImages(app),
    measure,
    storeId,
  });

  const cronWorker = new CronWorker({
    connection: connections.patient(),
    isStopped: async (app) => (await apps.get(app))?.stopped !== undefined,
    tasks,
    taskQueue,
    logger,
  });
  const taskWorker = new TaskWorker({
    ...stores,
    connection: connections.patient(),
    events,
    // A task changes no route, so there is nothing a stale one could do.
    tools: toolsFor(0),
    terminals: new TerminalChannels(connections.hasty(), connections.patient(), sealer),
    terminalGraceMs: config.terminalGraceMs,
    openLog: ({ app, number }, fence, mask) => {
      const [owner, log] = [keys.task(app, number), keys.taskLog(app, number)];
      return new LogWriter({ redis, owner, log, fence, mask, onDropped });
    },
    logger,
  });
  const leases = new LeaseStore(redis);
  const worker = new DeployWorker({
    connection: connections.patient(),
    concurrency: config.concurrency,
    queue,
    assertOwnStore,
    leases,
    events,
    afterwards: async (app) => {
      await failpoint('before tidy');
      await sweeper.sweepAfter(app);
      await failpoint('after tidy');
    },
    deps: {
      ...stores,
      tools: (lease) => toolsFor(lease.fence),
      openLog: ({ app, number }, fence, mask) =>
        new LogWriter({ redis, owner: keys.app(app), log: keys.log(app, number), fence, mask, onDropped }),
      appUrl: (app: AppName) => appUrl(config, app),
      cancelOnPush: config.cancelOnPush,
      maxRuns,
      logger,
    },
  });
  const reconciler = new Reconciler({
    deployments,
    leases,
    queue,
    tasks,
    taskQueue,
    assertOwnStore,
    measure,
    everyMs: reconcileEveryMs,
    logger,
  });
  const restoredApps = new RestoredApps({
    restored: stores.restored,
    apps,
    deployments,
    releases,
    services,
    queue,
    pin: (app, number, commit) => repositories.open(app).pin(String(number), commit),
    tools: toolsFor(0),
    logger,
  });
  const serving = servingKeeper({
    engine,
    stores,
    measure,
    storeId,
    worker,
    monitorMs: config.monitorMs,
    note,
    logger,
  });
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
    maskOf: stores.maskOf,
    announce: (container) => announce({ kind: 'collected', container }),
    onDropped,
    logger,
  });
  const guests = { config, redis, engine, storeId, stores, events, logger };
  const gates = gateKeeper(guests);
  const keeper = serviceKeeper(guests);

  const instances = new InstanceStore(redis, events);
  const instanceFacts = {
    engine,
    storeId,
    route: (app: AppName) => routes.get(app),
    deployment: (app: AppName, number: number) => deployments.get(app, number),
    env: stores.releaseEnv,
    tcpPort: (app: AppName) => stores.tcpPorts.get(app),
    trouble: async (app: AppName) => {
      const trouble = (await apps.get(app))?.trouble;
      return trouble && showTrouble(trouble);
    },
  };
  const stopTelling = events.listen((event) => {
    if (event.kind !== 'instances asked') return;
    void lookAtInstances(instanceFacts, event.app)
      .then((found) => instances.tell(event.id, found))
      .catch((err: unknown) => logger.warn({ err, app: event.app }, 'instances could not be looked at'));
  });

  await sweeper.start();
  collector.start();
  gates.start();
  await restoredApps.start();
  worker.start();
  serving.start();
  keeper.start();
  taskWorker.start();
  cronWorker.start();
  reconciler.start();
  // What a restart of the engine left does not wait for the next time that somebody looks.
  const watching = new AbortController();
  const onReturn = (): void => {
    sweeper.sweep();
    keeper.engineIsBack();
    serving.engineIsBack();
  };
  const watched = engine.watchEngine(onReturn, watching.signal);
  logger.info({ concurrency: config.concurrency }, 'worker started');

  return {
    stop: async () => {
      watching.abort();
      await watched;
      await Promise.all([reconciler.stop(), restoredApps.stop()]);
      await Promise.all([
        worker.close(),
        serving.stop(),
        keeper.stop(),
        taskWorker.close(),
        cronWorker.close(),
      ]);
      await sweeper.stop();
      stopTelling();
      await Promise.all([collector.stop(), gates.stop()]);
      await engine.close();
      await Promise.all([queue.close(), taskQueue.close(), cron.close()]);
      events.close();
      connections.close();
      logger.info('worker stopped');
    },
  };
}

async function probeSandbox(config: Config, logger: Logger): Promise<HookHost> {
  const sandbox = await probeHookHost(config.hookSandbox, config.hookUser);
  if ('level' in sandbox.choice)
    logger.info({ level: describeLevel(sandbox.choice.level) }, 'hooks are sandboxed');
  else logger.warn({ reason: sandbox.choice.refused }, 'hooks are refused; gantry doctor says what to do');
  if (sandbox.cgroup) await sweepCgroups(sandbox.cgroup);
  return sandbox;
}
