import { chmod, mkdir, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { type Authenticate, createAuthenticator, type Refusal } from './access/authenticator.ts';
import { createApi } from './api/api.ts';
import { writeAtomically } from './atomic-file.ts';
import { appUrl, type Config, dataPaths } from './config.ts';
import { type Account, canDeploy, canRead } from './domain/account.ts';
import type { AppName } from './domain/app.ts';
import type { RecordAudit } from './domain/audit.ts';
import { clientAddress } from './domain/client-address.ts';
import { allApps } from './domain/outgoing-webhook.ts';
import { isRedisTrouble, redisRefusal } from './errors.ts';
import { BranchKeeper } from './git/branch-keeper.ts';
import { DeletedApps } from './git/deleted-apps.ts';
import { deployAgain } from './git/deploy-again.ts';
import { deployFetched } from './git/deploy-fetched.ts';
import { FinishedDeployments } from './git/finished-deployments.ts';
import { defaultGitLimits, GitEndpoint, gitServerOptions } from './git/git-endpoint.ts';
import { prepareGitProcess } from './git/git-environment.ts';
import { HookSocket } from './git/hook-socket.ts';
import { KilledGit } from './git/killed-git.ts';
import { publicAddress } from './git/public-address.ts';
import { PushRegistry } from './git/push-registry.ts';
import { receivePushes } from './git/receive.ts';
import { Repositories } from './git/repositories.ts';
import { retry } from './git/retry.ts';
import { rollBack } from './git/roll-back.ts';
import { assertDiskTakes, diskCheck, type ReadinessCheck, readiness } from './health/readiness.ts';
import type { Logger } from './logger.ts';
import { CronSchedule } from './queue/cron-schedule.ts';
import { deployImage, requestImage } from './queue/deploy-image.ts';
import { DeployQueue } from './queue/deploy-queue.ts';
import { NoticeQueue, NoticeWorker } from './queue/notice-queue.ts';
import { PollSchedule, PollWorker } from './queue/poll-schedule.ts';
import { TaskQueue } from './queue/task-queue.ts';
import { HttpAndTcpRouter } from './router/http-and-tcp-router.ts';
import { anyAddress, isPortFree, probePort } from './router/port-probe.ts';
import { RouteAgent } from './router/route-agent.ts';
import { serverMetrics } from './server-metrics.ts';
import { AnswerStore } from './store/answer-store.ts';
import { AppDeletions } from './store/app-deletions.ts';
import { AppLogReader } from './store/app-log-reader.ts';
import { AppStore } from './store/app-store.ts';
import { AuditLog } from './store/audit-log.ts';
import { lastBackup } from './store/backup-notes.ts';
import { DeploymentStore } from './store/deployment-store.ts';
import { DomainStore } from './store/domain-store.ts';
import { InstanceStore } from './store/instance-store.ts';
import { LogReader } from './store/log-reader.ts';
import { NetworkPolicyStore } from './store/network-policy-store.ts';
import { Outbox } from './store/outbox.ts';
import { OutgoingStore } from './store/outgoing-store.ts';
import { overOutage } from './store/over-outage.ts';
import {
  assertWritable,
  checkRedis,
  hastyRedis,
  patientRedis,
  queueUnavailable,
  type RedisAddress,
  storeRefusal,
} from './store/redis.ts';
import { ReleaseStore } from './store/release-store.ts';
import { RouteStore } from './store/route-store.ts';
import { loadSealer } from './store/sealing.ts';
import { ServiceStore } from './store/service-store.ts';
import { StoreEpoch } from './store/store-epoch.ts';
import { StoreEvents } from './store/store-events.ts';
import { checkStoreId, ownStore } from './store/store-id.ts';
import { StreamWatch } from './store/stream-watch.ts';
import { TaskStore } from './store/task-store.ts';
import { TcpPortStore } from './store/tcp-port-store.ts';
import { TerminalChannels } from './store/terminal-channel.ts';
import { TokenStore } from './store/token-store.ts';
import { VolumeStore } from './store/volume-store.ts';
import { WebhookStore } from './store/webhook-store.ts';
import { version } from './version.ts';
import { type NoticeRef, Notifier } from './webhooks/notifier.ts';
import { tokenInAddress } from './webhooks/verify-delivery.ts';
import { WebhookReceiver } from './webhooks/webhook-receiver.ts';

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

  const connections: Redis[] = [];
  const keep = (redis: Redis): Redis => {
    connections.push(redis);
    return redis;
  };
  const patient = keep(patientRedis(redisAddress));
  for (const warning of await checkRedis(patient)) logger.warn(warning);
  const storeId = await checkStoreId(patient, paths);
  const hasty = keep(hastyRedis(redisAddress));
  const assertOwnStore = ownStore(hasty, storeId, paths);
  const epoch = new StoreEpoch({
    redis: hasty,
    id: storeId,
    file: paths.storeEpoch,
    assertOwnStore,
    onTrouble: (err) => logger.debug({ err }, 'how far the store has come is not noted'),
  });
  const sealer = await loadSealer(paths.keys, true);

  // What people wait for fails fast when Redis is away; what works in the background waits for it.
  const apps = new AppStore(hasty, sealer);
  const deployments = new DeploymentStore(hasty);
  const tokens = new TokenStore(hasty);
  const releases = new ReleaseStore(hasty);
  const routes = new RouteStore(patient);
  const queue = new DeployQueue(keep(hastyRedis(redisAddress)));
  const taskQueue = new TaskQueue(keep(hastyRedis(redisAddress)));
  const cron = new CronSchedule(keep(hastyRedis(redisAddress)));
  const watch = new StreamWatch(keep(patientRedis(redisAddress)), patient);
  const logs = new LogReader(patient, watch, paths.logs);
  const events = new StoreEvents(keep(patientRedis(redisAddress)));
  await events.start();
  await ready(hasty);
  epoch.start();
  const audit = new AuditLog(hasty);
  const recordAudit: RecordAudit = (entry) =>
    audit
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
    routes,
    events,
    assertOwnStore: ownStore(patient, storeId, paths),
    hostsOf,
    drainTimeoutMs: config.drainTimeoutMs,
    onSwapFailures: (requests) => metrics.failedInSwap(requests),
    logger,
  });
  agent.start();

  const repositories = new Repositories(paths.repositories);
  await repositories.removeUnused(async (app) => (await apps.get(app)) !== undefined);
  const killedGit = new KilledGit(repositories, logger);
  await killedGit.clearUp();
  const branches = new BranchKeeper(repositories, logger);
  const authenticate = createAuthenticator(tokens, assertOwnStore);
  const addressOf = ({ socket, headers }: IncomingMessage): string =>
    clientAddress(socket.remoteAddress ?? '', headers['x-forwarded-for']?.toString(), config.trustedProxies);
  const hastyRoutes = new RouteStore(hasty);
  const checks: Record<string, ReadinessCheck> = {
    redis: async () => {
      await assertOwnStore();
      await assertWritable(hasty);
      return undefined;
    },
    worker: async () => ((await queue.workers()) > 0 ? undefined : 'no worker takes deployments'),
    router: async () =>
      (await hastyRoutes.hasLivingRouter()) ? undefined : 'no router does what it is told',
    disk: diskCheck(config.dataDir),
  };
  const pushes = new PushRegistry();
  const git = new GitEndpoint({
    repositories,
    pushes,
    onPushed: (bytes) => metrics.pushed(bytes),
    logger,
    authenticate: (credentials, address) =>
      authenticatePusher(
        hasty,
        counting(authenticate, () => metrics.authFailed('git')),
        credentials?.password,
        address,
      ),
    addressOf,
    recordAudit,
    may: (account, app, action) => (action === 'read' ? canRead : canDeploy)(account, app),
    appExists: async (app) => (await apps.get(app)) !== undefined,
    ensureReady: async (app) => {
      await assertDiskTakes(config.dataDir); // Redis ends on a full disk, which then is the reason
      await assertWritable(hasty);
      const live = (await apps.get(app))?.live;
      if (live === undefined) return branches.withdraw(app);
      const deployment = await deployments.get(app, live);
      // Git decides on the branch as it sees it what there is to push.
      if (deployment?.state === 'live')
        await branches.follow(deployment, async () => (await apps.get(app))?.live === live);
    },
  });
  const hookSocket = new HookSocket({
    path: paths.hookSocket,
    pushes,
    logger,
    receivePush: receivePushes({
      apps,
      releases,
      request: (asked) => overOutage(() => deployments.request(asked)),
      // What was accepted is followed to its end, however long Redis is away.
      deployments: new DeploymentStore(patient),
      queue,
      logs,
      repositories,
      branches,
      recordAudit,
      logger,
    }),
  });
  await hookSocket.listen();

  const finished = new FinishedDeployments({
    apps: new AppStore(patient, sealer),
    deployments: new DeploymentStore(patient),
    logs,
    branches,
    repositories,
    killedGit,
    logger,
  });
  const stopListening = events.listen((event) => {
    if (event.kind !== 'ended') return;
    void finished.putAway(event.app, event.number);
  });
  finished.start();

  const goBack = rollBack({ apps, deployments, releases, queue });
  const webhooks = new WebhookStore(hasty, sealer);
  const receiver = new WebhookReceiver({
    apps,
    deployments,
    releases,
    webhooks,
    logger,
    deployImage: (request) => requestImage({ deployments, queue }, request),
    ...deployFetched({
      deployments,
      queue,
      repositories,
      knownHostsFile: (app) => join(paths.knownHosts, app),
      place: {
        allowedInternal: config.allowedInternal,
        caFile: config.gitCaFile,
        scratch: paths.fetches,
        maxBytes: defaultGitLimits.maxPushBytes,
      },
    }),
  });
  await rm(paths.fetches, { recursive: true, force: true });
  void receiver.resume().catch((err: unknown) => logger.warn({ err }, 'unfinished deliveries wait'));

  const deletions = new AppDeletions(hasty);
  const noticeQueue = new NoticeQueue<NoticeRef>(keep(patientRedis(redisAddress)));
  const resolveHost = (host: string) => publicAddress(host, config.allowedInternal);
  const notifier = new Notifier({
    outbox: new Outbox(patient),
    outgoing: new OutgoingStore(patient, sealer),
    deployments: new DeploymentStore(patient),
    events,
    enqueue: (notice, round) => noticeQueue.add(notice, round),
    onEnded: (deployment) => metrics.deploymentEnded(deployment),
    onSent: (format, verdict) => metrics.eventSent(format, verdict),
    appUrl: (app) => appUrl(config, app),
    send: {
      resolve: resolveHost,
      timeoutMs: config.webhookTimeoutMs,
      ca: config.gitCaFile === undefined ? undefined : await readFile(config.gitCaFile, 'utf8'),
      userAgent: `Gantry/${version()}`,
    },
    retries: config.webhookRetriesMs,
    logger,
  });
  const noticeWorker = new NoticeWorker<NoticeRef>({
    connection: keep(patientRedis(redisAddress)),
    attempt: (notice) => notifier.attempt(notice),
    logger,
  });

  const polls = new PollSchedule(keep(patientRedis(redisAddress)));
  const deletedApps = new DeletedApps({
    deletions: new AppDeletions(patient),
    apps: new AppStore(patient, sealer),
    outgoing: new OutgoingStore(patient, sealer),
    tokens,
    volumes: new VolumeStore(patient),
    repositories,
    events,
    hostsOf,
    unschedule: async (app) => {
      await cron.match(app, []);
      await polls.set(app, undefined);
    },
    folders: [paths.logs, paths.appLogs, paths.knownHosts],
    logger,
  });
  const pollWorker = new PollWorker({
    connection: keep(patientRedis(redisAddress)),
    poll: (app, tick) => receiver.poll(app, tick),
    logger,
  });

  // A restored store, or one of an older version, has no queue; what was to be sent is in it all the same.
  const resumeNotices = async (): Promise<void> => {
    if (await noticeQueue.isEmpty())
      await notifier.resume([allApps, ...(await apps.list()).map(({ name }) => name)]);
  };

  // A server may have died between a link and its schedule.
  const matchPolls = async (): Promise<void> => {
    for (const { name } of await apps.list()) await polls.set(name, (await webhooks.get(name))?.pollSeconds);
  };

  const api = await createApi({
    schedulePoll: (app, everySeconds) => polls.set(app, everySeconds),
    outgoing: new OutgoingStore(hasty, sealer),
    resolveHost,
    testWebhook: (webhook) => notifier.test(webhook),
    resendNotice: (notice) => notifier.redeliver(notice),
    webhooks,
    receiveDelivery: async (app, delivery) => {
      const answer = await receiver.receive(app, delivery);
      metrics.delivered(delivery.provider, answer.body.state);
      return answer;
    },
    storeRefusal: (error) => storeRefusal(hasty, error),
    tokenInAddress,
    redeliver: async (app, id) => receiver.redeliver(app, id),
    apps,
    deployments,
    volumes: new VolumeStore(hasty),
    logs,
    appLogs: new AppLogReader(paths.appLogs),
    instances: new InstanceStore(hasty, events),
    deployAgain: deployAgain({ deployments, releases, queue, repositories }),
    deletions,
    stopApp: async (app, by) => {
      const cancelled = await deployments.stop(app, by);
      await queue.wake(app);
      return cancelled;
    },
    deployImage: deployImage({ deployments, queue }),
    rollBack: goBack,
    retry: retry({ deployments, releases, queue, repositories, rollBack: goBack }),
    tasks: new TaskStore(hasty, sealer),
    terminals: new TerminalChannels(hasty, keep(patientRedis(redisAddress)), sealer),
    releases,
    nextTick: (app, entry) => cron.next(app, entry),
    wakeTaskWorker: (app, number) => taskQueue.add(app, number),
    domains: new DomainStore(hasty),
    services: new ServiceStore(hasty, sealer),
    copies: { folder: paths.serviceCopies, diskFloorBytes: config.diskFloorBytes },
    appDomain: config.domain,
    policies: new NetworkPolicyStore(hasty),
    tcpPorts: new TcpPortStore(hasty),
    tcpRange: config.tcpPorts,
    isPortFree: async (port) =>
      isPortFree(config.httpBind === '*' ? await anyAddress() : config.httpBind, port),
    tokens,
    authenticate: counting(authenticate, () => metrics.authFailed('api')),
    metrics,
    readiness: () => readiness(checks),
    addressOf,
    audit,
    recordAudit,
    onRevoked: (look) => events.listen((event) => event.kind === 'revoked' && look()),
    answers: new AnswerStore(hasty, sealer),
    appUrl: (app) => appUrl(config, app),
    version: version(),
    logger,
    serverFactory: (handler) =>
      createServer(gitServerOptions, (req, res) =>
        git.handles(req) ? git.handle(req, res) : handler(req, res),
      ),
  });
  await api.listen({ host: config.bind, port: config.port });
  notifier.start();
  noticeWorker.start();
  pollWorker.start();
  void resumeNotices().catch((err: unknown) => logger.warn({ err }, 'events that wait may wait longer'));
  void matchPolls().catch((err: unknown) => logger.warn({ err }, 'polls go on as they were'));
  logger.info({ port: config.port, httpPort: config.httpPort }, 'server started');

  return {
    stop: async () => {
      stopListening();
      finished.stop();
      branches.close();
      // First the hooks: they tell each pusher that the server restarts, before its connection is cut.
      await hookSocket.close();
      await git.close(2000);
      await api.close();
      await Promise.all([notifier.stop(), noticeWorker.close(), pollWorker.close(), deletedApps.stop()]);
      await agent.stop();
      await router.close();
      await epoch.stop();
      watch.close();
      events.close();
      const queues = [queue, taskQueue, cron, noticeQueue, polls];
      await Promise.all(queues.map((one) => one.close()));
      for (const connection of connections) connection.disconnect();
      logger.info('server stopped');
    },
  };
}

function counting(authenticate: Authenticate, onRefusal: () => void): Authenticate {
  return async (secret, address) => {
    const answer = await authenticate(secret, address);
    // git asks without a token first, to learn that it needs one.
    if (secret && 'refused' in answer) onRefusal();
    return answer;
  };
}

async function authenticatePusher(
  redis: Redis,
  authenticate: Authenticate,
  secret: string | undefined,
  address: string,
): Promise<Account | Refusal> {
  try {
    return await authenticate(secret, address);
  } catch (error) {
    throw isRedisTrouble(error) || redisRefusal(error) ? queueUnavailable(redis, error) : error;
  }
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
