import type { Config } from '../config.ts';
import { Metrics } from '../health/metrics.ts';
import { freeBytes } from '../health/readiness.ts';
import type { DeployQueue } from '../queue/deploy-queue.ts';
import type { HttpAndTcpRouter } from '../router/http-and-tcp-router.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { StoreEvents } from '../store/store-events.ts';
import { version } from '../version.ts';

export type MeasuredParts = {
  config: Config;
  apps: AppStore;
  deployments: DeploymentStore;
  queue: DeployQueue;
  router: HttpAndTcpRouter;
  events: StoreEvents;
  lastBackup: () => Promise<Date | undefined>;
};

/** The numbers of this server, and those that workers tell it. */
export function serverMetrics({
  config,
  apps,
  deployments,
  queue,
  router,
  events,
  lastBackup,
}: MeasuredParts): Metrics {
  const metrics = new Metrics({
    version: version(),
    desired: async () => {
      const all = await Promise.all((await apps.list()).map(({ name }) => deployments.desired(name)));
      return all.filter((deployment) => deployment !== undefined);
    },
    workers: () => queue.workers(),
    lastBackup,
    freeBytes: () => freeBytes(config.dataDir),
    responses: () => router.responses(),
    requestTimes: () => router.requestTimes(),
  });
  events.listen((event) => event.kind === 'measured' && metrics.measured(event));
  return metrics;
}
