import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { App } from '../domain/app.ts';
import { isFinal } from '../domain/deployment.ts';
import { UserError } from '../errors.ts';
import type { AppDeletions } from '../store/app-deletions.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { TaskStore } from '../store/task-store.ts';
import { type AppRoutesDeps, appParams, requireApp, stateOf } from './app-routes.ts';
import { deletedShape, startShape, stopShape } from './contract/apps.ts';
import type { DeploymentRoutesDeps } from './deployment-routes.ts';

export type LifecycleRoutesDeps = Pick<AppRoutesDeps, 'apps'> &
  Pick<DeploymentRoutesDeps, 'deployAgain'> & {
    deployments: DeploymentStore;
    deletions: AppDeletions;
    tasks: TaskStore;
    /** Makes it the wish that nothing of the app runs; returns the deployments that are cancelled for it. */
    stopApp: (app: App['name'], by: string) => Promise<number[]>;
  };

const deleteQuery = z.strictObject({ deleteData: z.enum(['true', 'false']).default('false') });

/** Whether an app runs, and is there, at all. */
export function lifecycleRoutes(deps: LifecycleRoutesDeps): FastifyPluginAsyncZod {
  return async (api) => {
    api.post(
      '/apps/:app/stop',
      {
        config: { right: 'deploy', action: 'stop app' },
        schema: { params: appParams, response: { 202: stopShape } },
      },
      async ({ account, params }, reply) => {
        const app = await requireApp(deps, account, params.app);
        const desired = await deps.deployments.desired(app.name);
        if (app.live === undefined && (!desired || isFinal(desired.state)))
          throw new UserError('CONFLICT', `nothing of ${app.name} runs: it was never live`);
        const cancelled = await deps.stopApp(app.name, account.name);
        const now = stateOf(await requireApp(deps, account, params.app));
        return reply
          .status(202)
          .header('location', `/api/v1/apps/${app.name}`)
          .send({ state: now === 'stopped' ? now : 'stopping', cancelled });
      },
    );

    api.delete(
      '/apps/:app',
      {
        config: { right: 'admin', action: 'delete app' },
        schema: { params: appParams, querystring: deleteQuery, response: { 202: deletedShape } },
      },
      async ({ account, params, query }, reply) => {
        const { name } = await requireApp(deps, account, params.app);
        await deps.deletions.ask(name, { by: account.name, deleteData: query.deleteData === 'true' });
        for (const task of await deps.tasks.list(name))
          await deps.tasks.cancel(name, task.number, account.name);
        await deps.stopApp(name, account.name);
        return reply.status(202).header('location', `/api/v1/apps/${name}`).send({ state: 'deleting' });
      },
    );

    api.post(
      '/apps/:app/start',
      {
        config: { right: 'deploy', action: 'start app' },
        schema: { params: appParams, response: { 200: startShape, 202: startShape } },
      },
      async ({ account, params }, reply) => {
        const app = await requireApp(deps, account, params.app);
        if (app.live === undefined)
          throw new UserError('CONFLICT', `${app.name} has nothing live to start`, 'git push clever main');
        if (!app.stopped) return reply.status(200).send({ number: app.live, started: false });
        const number = await startStopped(deps, app, account.name);
        return reply
          .status(202)
          .header('location', `/api/v1/apps/${app.name}/deployments/${number}`)
          .send({ number, started: true });
      },
    );
  };
}

/** The number of the deployment that brings a stopped app back. */
export async function startStopped(
  { deployments, deployAgain }: Pick<LifecycleRoutesDeps, 'deployments' | 'deployAgain'>,
  app: App,
  by: string,
): Promise<number> {
  const desired = await deployments.desired(app.name);
  // What is on its way starts the app as well, and is newer; but what the stop met ends with it.
  const isComing = desired && !isFinal(desired.state) && !desired.isToCancel && !desired.switched;
  return isComing ? desired.number : deployAgain(app, { kind: 'start', noCache: false, by });
}
