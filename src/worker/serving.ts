import type { DockerodeEngine } from '../docker/dockerode-engine.ts';
import type { AppName } from '../domain/app.ts';
import { type ContainerState, labels } from '../domain/container.ts';
import type { Measure } from '../domain/measurement.ts';
import { safeText } from '../domain/safe-text.ts';
import type { Logger } from '../logger.ts';
import { CrashWatch, type Death, howItEnded } from '../queue/crash-watch.ts';
import type { DeployWorker } from '../queue/deploy-worker.ts';
import { ServingKeeper } from '../queue/serving-keeper.ts';
import type { HealthStore } from '../store/health-store.ts';
import type { WorkerStores } from './stores.ts';

type NoteServing = (
  app: AppName,
  containers: readonly ContainerState[],
  deaths: ReadonlyMap<string, Death>,
) => Promise<void>;

type Parts = {
  engine: DockerodeEngine;
  stores: WorkerStores;
  measure: Measure;
};

/** Writes down how the containers are that serve an app, from which it is told that it crashed, loops or is well again. */
export function noteServing({
  engine,
  stores,
  measure,
  health,
}: Parts & { health: HealthStore }): NoteServing {
  const howItWent = async (container: ContainerState, death: Death | undefined): Promise<string> => {
    if (!death) return '';
    const { [labels.app]: app, [labels.release]: release } = container.labels;
    const mask = await stores.maskOf(app as AppName, Number(release));
    const lines = await engine.lastOutput(container.id, 5).catch(() => []);
    const last = lines.findLast((line) => line.trim() !== '');
    const said = last === undefined ? '' : `; it said last: ${safeText(mask(last), 150)}`;
    return `${howItEnded(container, death)}${said}`;
  };
  return async (app, containers, deaths) => {
    const seen = await Promise.all(
      containers.map(async (container) => ({
        id: container.id,
        release: Number(container.labels[labels.release]),
        running: container.running,
        restartCount: container.restartCount,
        how: await howItWent(container, deaths.get(container.id)),
      })),
    );
    const restarts = await health.look(app, seen);
    if (restarts > 0) measure({ name: 'container_restarts_total', value: restarts });
  };
}

/** Sees to it that what should serve does, and that what crashes soon after it went live makes way. */
export function servingKeeper({
  engine,
  stores,
  measure,
  storeId,
  worker,
  monitorMs,
  note,
  logger,
}: Parts & {
  storeId: string;
  worker: DeployWorker;
  monitorMs: number;
  note: NoteServing;
  logger: Logger;
}): ServingKeeper {
  const { apps, deployments, releases, restored, routeChanges, routes, assertOwnStore, maskOf } = stores;
  return new ServingKeeper({
    engine,
    mark: `${labels.store}=${storeId}`,
    storeTag: storeId.slice(0, 6),
    routes,
    assertOwnStore,
    mend: async (app) => {
      // It is brought back by a deployment.
      const isComingBack = (await restored.list()).some((one) => one.app === app);
      const mended = isComingBack ? undefined : await worker.mend(app);
      if (mended && mended.started > 0)
        measure({ name: 'reconcile_actions_total', label: 'start_container', value: mended.started });
      return mended;
    },
    move: async (app, container, address) => {
      await routeChanges.move(app, container, address);
      measure({ name: 'reconcile_actions_total', label: 'move_endpoint', value: 1 });
    },
    crashes: new CrashWatch({ engine, apps, deployments, releases, monitorMs, maskOf, logger }),
    hurry: (app) => worker.hurry(app),
    noteServing: note,
    logger,
  });
}
