import { chmod, mkdir } from 'node:fs/promises';
import type { Redis } from 'ioredis';
import { createAuthenticator } from './access/authenticator.ts';
import { createApi } from './api/api.ts';
import { writeAtomically } from './atomic-file.ts';
import { type Config, dataPaths } from './config.ts';
import type { AppName } from './domain/app.ts';
import type { RecordAudit } from './domain/audit.ts';
import { clientAddress } from './domain/client-address.ts';
import { DeletedApps } from './git/deleted-apps.ts';
import { defaultGitLimits } from './git/git-endpoint.ts';
import { prepareGitProcess } from './git/git-environment.ts';
import { diskCheck, type ReadinessCheck, readiness } from './health/readiness.ts';
import type { Logger } from './logger.ts';
import { CronSchedule } from './queue/cron-schedule.ts';
import { DeployQueue } from './queue/deploy-queue.ts';
import { TaskQueue } from './queue/task-queue.ts';
import { HttpAndTcpRouter } from './router/http-and-tcp-router.ts';
import { probePort } from './router/port-probe.ts';
import { RouteAgent } from './router/route-agent.ts';
import { apiDeps } from './server/api-deps.ts';
import type { ServerContext } from './server/context.ts';
import { startGit } from './server/git.ts';
import { serverMetrics } from './server/metrics.ts';
import { openStores } from './server/stores.ts';
import { makeWebhooks } from './server/webhooks.ts';
import { lastBackup } from './store/backup-notes.ts';
import { Connections } from './store/connections.ts';
import { LogReader } from './store/log-reader.ts';
import { assertWritable, checkRedis, type RedisAddress } from './store/redis.ts';
import { loadSealer } from './store/sealing.ts';
import { StoreEpoch } from './store/store-epoch.ts';
import { StoreEvents } from './store/store-events.ts';
import { checkStoreId, ownStore } from './store/store-id.ts';
import { StreamWatch } from './store/stream-watch.ts';
import type { TokenStore } from './store/token-store.ts';

export type RunningServer = { stop: () => Promise<void> };

/** git, the API, the live logs and the router agent, in one process that needs no Docker. */
export async function startServer(
  config: Config,
  redisAddress: RedisAddress,
  logger: Logger,
): Promise<RunningServer> {
  // Before HAProxy is started: it would outlive this failure.
  await probePort(config.bind, config.port, 'GANTRY_PORT');
  const paths = dataPaths(config.dataDir);
  for (const dir of [config.dataDir, paths.repositories, paths.router, paths.logs])
    await mkdir(dir, { recursive: true, mode: 0o700 });
  await chmod(config.dataDir, 0o700);
  await prepareGitProcess({
    folder: paths.gitConfig,
    hookSocket: paths.hookSocket,
    maxPushBytes: defaultGitLimits.maxPushBytes,
  });

  const connections = new Connections(redisAddress);
  const patient = connections.patient();
  for (const warning of await checkRedis(patient)) logger.warn(warning);
  const storeId = await checkStoreId(patient, paths);
  const hasty = connections.hasty();
  const assertOwnStore = ownStore(hasty, storeId, paths);
  const epoch = new StoreEpoch({
    redis: hasty,
    id: storeId,
    file: paths.storeEpoch,
    assertOwnStore,
    onTrouble: (err) => logger.debug({ err }, 'how far the store has come is not noted'),
  });
  const sealer = await loadSealer(paths.keys, true);
  const stores = openStores(hasty, patient, sealer);
  const { apps, deployments, tokens, background } = stores;
  const queue = new DeployQueue(connections.hasty());
  const taskQueue = new TaskQueue(connections.hasty());
  const cron = new CronSchedule(connections.hasty());
  const watch = new StreamWatch(connections.patient(), patient);
  const logs = new LogReader(patient, watch, paths.logs);
  const events = new StoreEvents(connections.patient());
  await events.start();
  await ready(hasty);
  epoch.start();
  const recordAudit: RecordAudit = (entry) =>
    stores.audit
      .record(entry)
      .catch((error: unknown) => logger.error({ err: error, ...entry }, 'not in the audit log'));
  await bootstrapToken(tokens, paths.token, recordAudit, logger);

  const router = new HttpAndTcpRouter({
    dir: paths.router,
    tcpDir: paths.tcpRouter,
    httpPort: config.httpPort,
    ...(config.httpBind !== '*' && { bindAddress: config.httpBind }),
    isExternal: config.externalHaproxy,
    logger,
  });
  await router.start();
  const metrics = serverMetrics({
    config,
    apps,
    deployments,
    queue,
    router,
    events,
    lastBackup: () => lastBackup(hasty),
  });
  const hostsOf = (app: AppName): string[] => [`${app}.${config.domain}`];
  const agent = new RouteAgent({
    id: 'main',
    router,
    routes: background.routes,
    events,
    assertOwnStore: ownStore(patient, storeId, paths),
    hostsOf,
    drainTimeoutMs: config.drainTimeoutMs,
    onSwapFailures: (requests) => metrics.failedInSwap(requests),
    logger,
  });
  agent.start();

  const context: ServerContext = {
    config,
    paths,
    connections,
    hasty,
    sealer,
    stores,
    queue,
    events,
    logs,
    metrics,
    authenticate: createAuthenticator(tokens, assertOwnStore),
    addressOf: ({ socket, headers }) =>
      clientAddress(
        socket.remoteAddress ?? '',
        headers['x-forwarded-for']?.toString(),
        config.trustedProxies,
      ),
    recordAudit,
    logger,
  };
  const git = await startGit(context);
  const webhooks = await makeWebhooks(context, git.repositories);
  const deletedApps = new DeletedApps({
    deletions: background.deletions,
    apps: background.apps,
    outgoing: background.outgoing,
    tokens,
    volumes: background.volumes,
    repositories: git.repositories,
    events,
    hostsOf,
    unschedule: async (app) => {
      await cron.match(app, []);
      await webhooks.schedulePoll(app, undefined);
    },
    folders: [paths.logs, paths.appLogs, paths.knownHosts],
    logger,
  });
  const checks: Record<string, ReadinessCheck> = {
    redis: async () => {
      await assertOwnStore();
      await assertWritable(hasty);
      return undefined;
    },
    worker: async () => ((await queue.workers()) > 0 ? undefined : 'no worker takes deployments'),
    router: async () =>
      (await stores.routes.hasLivingRouter()) ? undefined : 'no router does what it is told',
    disk: diskCheck(config.dataDir),
  };
  const api = await createApi(
    apiDeps({ context, git, webhooks, cron, taskQueue, readiness: () => readiness(checks) }),
  );
  await api.listen({ host: config.bind, port: config.port });
  webhooks.start();
  logger.info({ port: config.port, httpPort: config.httpPort }, 'server started');

  return {
    stop: async () => {
      await git.stop();
      await api.close();
      await deletedApps.stop();
      await webhooks.stop();
      await agent.stop();
      await router.close();
      await epoch.stop();
      watch.close();
      events.close();
      await Promise.all([queue, taskQueue, cron].map((one) => one.close()));
      connections.close();
      logger.info('server stopped');
    },
  };
}

/**
 * The one way in on a new server, or when the last administrator's token has expired: a token in a file that only its
 * owner reads.
 */
async function bootstrapToken(
  tokens: TokenStore,
  file: string,
  recordAudit: RecordAudit,
  logger: Logger,
): Promise<void> {
  if (await tokens.hasAdmin()) return;
  const by = 'the server';
  const { secret, token } = await tokens.create({ name: 'admin', scopes: ['admin'], createdBy: by });
  const what = `name=admin scopes=admin -> ${token.tokenId}`;
  await recordAudit({ by, tokenId: '', address: '', app: '', action: 'create token', what, result: 'ok' });
  await writeAtomically(file, `${secret}\n`);
  logger.info({ file }, 'there was no administrator: wrote a token for one');
}

/** The hasty connection refuses commands until it is connected. */
async function ready(redis: Redis): Promise<void> {
  if (redis.status !== 'ready') await new Promise((resolve) => redis.once('ready', resolve));
}
