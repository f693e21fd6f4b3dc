import { createServer } from 'node:http';
import type { ApiDeps } from '../api/api.ts';
import { appUrl } from '../config.ts';
import { deployAgain } from '../git/deploy-again.ts';
import { gitServerOptions } from '../git/git-endpoint.ts';
import { retry } from '../git/retry.ts';
import { rollBack } from '../git/roll-back.ts';
import type { Readiness } from '../health/readiness.ts';
import type { CronSchedule } from '../queue/cron-schedule.ts';
import { deployImage } from '../queue/deploy-image.ts';
import type { TaskQueue } from '../queue/task-queue.ts';
import { anyAddress, isPortFree } from '../router/port-probe.ts';
import { AppLogReader } from '../store/app-log-reader.ts';
import { InstanceStore } from '../store/instance-store.ts';
import { storeRefusal } from '../store/redis.ts';
import { TerminalChannels } from '../store/terminal-channel.ts';
import { version } from '../version.ts';
import { tokenInAddress } from '../webhooks/verify-delivery.ts';
import type { ServerContext } from './context.ts';
import { counting } from './counting.ts';
import type { GitPart } from './git.ts';
import type { WebhookPart } from './webhooks.ts';

export type ApiParts = {
  context: ServerContext;
  git: GitPart;
  webhooks: WebhookPart;
  cron: CronSchedule;
  taskQueue: TaskQueue;
  readiness: () => Promise<Readiness>;
};

/** All that the routes of the API are made with. Requests of git are answered before they get there. */
export function apiDeps({ context, git, webhooks, cron, taskQueue, readiness }: ApiParts): ApiDeps {
  const { config, paths, connections, hasty, sealer, stores, queue, events, metrics, logger } = context;
  const { deployments, releases } = stores;
  const { repositories } = git;
  const { receiver, notifier } = webhooks;
  const goBack = rollBack({ ...stores, queue });
  return {
    ...stores,
    logs: context.logs,
    appLogs: new AppLogReader(paths.appLogs),
    instances: new InstanceStore(hasty, events),
    terminals: new TerminalChannels(hasty, connections.patient(), sealer),

    deployAgain: deployAgain({ deployments, releases, queue, repositories }),
    deployImage: deployImage({ deployments, queue }),
    rollBack: goBack,
    retry: retry({ deployments, releases, queue, repositories, rollBack: goBack }),
    stopApp: async (app, by) => {
      const cancelled = await deployments.stop(app, by);
      await queue.wake(app);
      return cancelled;
    },
    nextTick: (app, entry) => cron.next(app, entry),
    wakeTaskWorker: (app, number) => taskQueue.add(app, number),

    receiveDelivery: async (app, delivery) => {
      const answer = await receiver.receive(app, delivery);
      metrics.delivered(delivery.provider, answer.body.state);
      return answer;
    },
    redeliver: (app, id) => receiver.redeliver(app, id),
    tokenInAddress,
    schedulePoll: webhooks.schedulePoll,
    resolveHost: webhooks.resolveHost,
    testWebhook: (webhook) => notifier.test(webhook),
    resendNotice: (notice) => notifier.redeliver(notice),

    appDomain: config.domain,
    appUrl: (app) => appUrl(config, app),
    copies: { folder: paths.serviceCopies, diskFloorBytes: config.diskFloorBytes },
    tcpRange: config.tcpPorts,
    isPortFree: async (port) =>
      isPortFree(config.httpBind === '*' ? await anyAddress() : config.httpBind, port),

    authenticate: counting(context.authenticate, () => metrics.authFailed('api')),
    addressOf: context.addressOf,
    recordAudit: context.recordAudit,
    onRevoked: (look) => events.listen((event) => event.kind === 'revoked' && look()),
    storeRefusal: (error) => storeRefusal(hasty, error),
    metrics,
    readiness,
    version: version(),
    logger,
    serverFactory: (handler) =>
      createServer(gitServerOptions, (req, res) =>
        git.endpoint.handles(req) ? git.endpoint.handle(req, res) : handler(req, res),
      ),
  };
}
