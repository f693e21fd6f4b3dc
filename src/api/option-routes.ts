import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import { isAdmin } from '../domain/account.ts';
import { type AppOptions, problemWithAppOptions, smallestMemory } from '../domain/app-options.ts';
import { UserError } from '../errors.ts';
import { type AppRoutesDeps, appParams, requireApp } from './app-routes.ts';
import { appOptionsChangeShape, appOptionsShape } from './contract/options.ts';

/** What an app is given and how its releases are swapped. */
export function optionRoutes(deps: Pick<AppRoutesDeps, 'apps'>): FastifyPluginAsyncZod {
  return async (api) => {
    api.get(
      '/apps/:app/options',
      { config: { right: 'read' }, schema: { params: appParams, response: { 200: appOptionsShape } } },
      async ({ account, params }) => {
        const app = await requireApp(deps, account, params.app);
        return describe(await deps.apps.options(app.name));
      },
    );

    api.patch(
      '/apps/:app/options',
      {
        config: {
          right: 'deploy',
          action: 'change options',
          shown: ['memory', 'cpus', 'network', 'dockerNetworks', 'swap', 'healthCheck', 'endpoint'],
        },
        schema: { params: appParams, body: appOptionsChangeShape, response: { 200: appOptionsShape } },
      },
      async ({ account, params, body }) => {
        const app = await requireApp(deps, account, params.app);
        // All of them give an app more than its container and its own network.
        const { network, dockerSocket, extraHosts = [], dockerNetworks = [] } = body;
        const isMore =
          network === 'host' || dockerSocket === true || extraHosts.length > 0 || dockerNetworks.length > 0;
        if (isMore && !isAdmin(account))
          throw new UserError(
            'FORBIDDEN',
            'only an administrator gives an app the network of the host or others, names in its hosts file, or the Docker socket',
          );
        return describe(await deps.apps.changeOptions(app.name, (options) => changed(options, body)));
      },
    );
  };
}

/** With what is changed; throws when the app cannot have that. */
export function changed(options: AppOptions, change: z.infer<typeof appOptionsChangeShape>): AppOptions {
  const { memory, startTimeout, ...same } = change;
  if (typeof memory === 'number' && memory < smallestMemory)
    throw new UserError('INVALID', 'memory is at least 6M, which is the least a container can have');
  const given = Object.entries({ ...same, memoryBytes: memory, startSeconds: startTimeout })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => [name, value ?? undefined]);
  const result: AppOptions = { ...options, ...(Object.fromEntries(given) as Partial<AppOptions>) };
  const problem = problemWithAppOptions(result);
  if (problem) throw new UserError('INVALID', problem);
  return result;
}

function describe({
  memoryBytes,
  startSeconds,
  volumes,
  extraHosts,
  dockerNetworks,
  ...same
}: AppOptions): z.infer<typeof appOptionsShape> {
  return withNulls({
    ...same,
    volumes: [...volumes],
    extraHosts: [...extraHosts],
    dockerNetworks: [...dockerNetworks],
    memory: memoryBytes,
    startTimeout: startSeconds,
  });
}

type WithNulls<T> = {
  [Name in keyof T]: undefined extends T[Name] ? Exclude<T[Name], undefined> | null : T[Name];
};

/** JSON has no `undefined`. */
function withNulls<T extends object>(all: T): WithNulls<T> {
  return Object.fromEntries(
    Object.entries(all).map(([name, value]) => [name, value ?? null]),
  ) as WithNulls<T>;
}
