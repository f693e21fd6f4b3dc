import { canDeploy, canRead } from '../domain/account.ts';
import type { AppName } from '../domain/app.ts';
import { isRedisTrouble, redisRefusal } from '../errors.ts';
import { BranchKeeper } from '../git/branch-keeper.ts';
import { FinishedDeployments } from '../git/finished-deployments.ts';
import { GitEndpoint } from '../git/git-endpoint.ts';
import { HookSocket } from '../git/hook-socket.ts';
import { KilledGit } from '../git/killed-git.ts';
import { PushRegistry } from '../git/push-registry.ts';
import { receivePushes } from '../git/receive.ts';
import { Repositories } from '../git/repositories.ts';
import { assertDiskTakes } from '../health/readiness.ts';
import { overOutage } from '../store/over-outage.ts';
import { assertWritable, queueUnavailable } from '../store/redis.ts';
import type { ServerContext } from './context.ts';
import { counting } from './counting.ts';

export type GitPart = { endpoint: GitEndpoint; repositories: Repositories; stop: () => Promise<void> };

/** Redis was asked and has not answered, so that nobody knows. */
const mayBeAccepted =
  'push again in a minute; should this push have been accepted all the same, that joins it';

/** Takes pushes, tells pushers how their deployments go, and lets the branches follow what is live. */
export async function startGit(context: ServerContext): Promise<GitPart> {
  const { config, paths, hasty, stores, queue, events, logs, metrics, logger, recordAudit } = context;
  const { apps, deployments, releases } = stores;
  const repositories = new Repositories(paths.repositories);
  const appExists = async (app: AppName): Promise<boolean> => (await apps.get(app)) !== undefined;
  await repositories.removeUnused(appExists);
  const killedGit = new KilledGit(repositories, logger);
  await killedGit.clearUp();
  const branches = new BranchKeeper({ repositories, apps, deployments, logger });
  const pushes = new PushRegistry();
  const authenticate = counting(context.authenticate, () => metrics.authFailed('git'));
  /** Whoever pushes is told when it is Redis that is in trouble. */
  const orTold = <T>(asked: Promise<T>): Promise<T> =>
    asked.catch((error: unknown) => {
      throw isRedisTrouble(error) || redisRefusal(error) ? queueUnavailable(hasty, error) : error;
    });
  const ensureReady = async (app: AppName): Promise<void> => {
    await assertDiskTakes(config.dataDir); // Redis ends on a full disk, which then is the reason
    await assertWritable(hasty);
    const live = (await apps.get(app))?.live;
    if (live === undefined) return branches.withdraw(app);
    const deployment = await deployments.get(app, live);
    // Git decides on the branch as it sees it what there is to push.
    if (deployment?.state === 'live') await branches.follow(deployment);
  };
  const endpoint = new GitEndpoint({
    repositories,
    pushes,
    onPushed: (bytes) => metrics.pushed(bytes),
    logger,
    authenticate: (credentials, address) => orTold(authenticate(credentials?.password, address)),
    addressOf: context.addressOf,
    recordAudit,
    may: (account, app, action) => (action === 'read' ? canRead : canDeploy)(account, app),
    appExists: (app) => orTold(appExists(app)),
    ensureReady: (app) => orTold(ensureReady(app)),
  });
  const receive = receivePushes({
    apps,
    releases,
    request: (asked) =>
      overOutage(() => deployments.request(asked)).catch((error: unknown) => {
        throw isRedisTrouble(error) ? queueUnavailable(hasty, error, mayBeAccepted) : error;
      }),
    // What was accepted is followed to its end, however long Redis is away.
    deployments: stores.background.deployments,
    queue,
    logs,
    repositories,
    branches,
    recordAudit,
    logger,
  });
  const hookSocket = new HookSocket({
    path: paths.hookSocket,
    pushes,
    logger,
    receivePush: (...push) => orTold(receive(...push)),
  });
  await hookSocket.listen();

  const finished = new FinishedDeployments({
    apps: stores.background.apps,
    deployments: stores.background.deployments,
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
  return {
    endpoint,
    repositories,
    stop: async () => {
      stopListening();
      finished.stop();
      branches.close();
      // First the hooks: they tell each pusher that the server restarts, before its connection is cut.
      await hookSocket.close();
      await endpoint.close(2000);
    },
  };
}
