import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { UserError } from '../errors.ts';
import type { InstanceStore } from '../store/instance-store.ts';
import { type AppRoutesDeps, appParams, requireApp, stateOf } from './app-routes.ts';
import { instancesShape } from './contract/apps.ts';

export type InstanceRoutesDeps = Pick<AppRoutesDeps, 'apps'> & { instances: InstanceStore };

const patienceMs = 10_000;

/** The containers of an app as they are now. */
export function instanceRoutes(deps: InstanceRoutesDeps): FastifyPluginAsyncZod {
  return async (api) => {
    api.get(
      '/apps/:app/instances',
      { config: { right: 'read' }, schema: { params: appParams, response: { 200: instancesShape } } },
      async ({ account, params }) => {
        const app = await requireApp(deps, account, params.app);
        const found = await deps.instances.ask(app.name, patienceMs);
        if (!found)
          throw new UserError(
            'QUEUE_UNAVAILABLE',
            'no worker answers, and only they know the containers; running apps are not affected',
            'try again in a minute',
          );
        return {
          state: stateOf(app),
          instances: found.map(({ detail, since, memoryLimit, memoryUsed, cpus, ...instance }) => ({
            ...instance,
            detail: detail ?? null,
            since: since ?? null,
            memory: { limit: memoryLimit ?? null, used: memoryUsed ?? null },
            cpus: cpus ?? null,
          })),
        };
      },
    );
  };
}
