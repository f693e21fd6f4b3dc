import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { appUrl } from '../config.ts';
import type { AppName } from '../domain/app.ts';
import { allApps } from '../domain/outgoing-webhook.ts';
import { deployFetched } from '../git/deploy-fetched.ts';
import { defaultGitLimits } from '../git/git-endpoint.ts';
import { publicAddress } from '../git/public-address.ts';
import type { Repositories } from '../git/repositories.ts';
import { requestImage } from '../queue/deploy-image.ts';
import { NoticeQueue, NoticeWorker } from '../queue/notice-queue.ts';
import { PollSchedule, PollWorker } from '../queue/poll-schedule.ts';
import { version } from '../version.ts';
import { type NoticeRef, Notifier } from '../webhooks/notifier.ts';
import { WebhookReceiver } from '../webhooks/webhook-receiver.ts';
import type { ServerContext } from './context.ts';

export type WebhookPart = {
  receiver: WebhookReceiver;
  notifier: Notifier;
  /** Asks the linked repository of an app that often, or no more. */
  schedulePoll: (app: AppName, everySeconds: number | undefined) => Promise<void>;
  resolveHost: (host: string) => ReturnType<typeof publicAddress>;
  start: () => void;
  stop: () => Promise<void>;
};

/** Deployments that others ask for, by delivery or because a poll found something, and what others are told of ours. */
export async function makeWebhooks(context: ServerContext, repositories: Repositories): Promise<WebhookPart> {
  const { config, paths, connections, stores, queue, events, metrics, logger } = context;
  const { apps, deployments, releases, webhooks, background } = stores;
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

  const noticeQueue = new NoticeQueue<NoticeRef>(connections.patient());
  const resolveHost = (host: string) => publicAddress(host, config.allowedInternal);
  const notifier = new Notifier({
    outbox: background.outbox,
    outgoing: background.outgoing,
    deployments: background.deployments,
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
    connection: connections.patient(),
    attempt: (notice) => notifier.attempt(notice),
    logger,
  });
  const polls = new PollSchedule(connections.patient());
  const pollWorker = new PollWorker({
    connection: connections.patient(),
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

  return {
    receiver,
    notifier,
    schedulePoll: (app, everySeconds) => polls.set(app, everySeconds),
    resolveHost,
    start: () => {
      notifier.start();
      noticeWorker.start();
      pollWorker.start();
      void resumeNotices().catch((err: unknown) => logger.warn({ err }, 'events that wait may wait longer'));
      void matchPolls().catch((err: unknown) => logger.warn({ err }, 'polls go on as they were'));
    },
    stop: async () => {
      await Promise.all([notifier.stop(), noticeWorker.close(), pollWorker.close()]);
      await Promise.all([noticeQueue.close(), polls.close()]);
    },
  };
}
