import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import { isAdmin } from '../domain/account.ts';
import { type AppOptions, problemWithAppOptions, smallestMemory } from '../domain/app-options.ts';
import { UserError } from '../errors.ts';
import { type AppRoutesDeps, appParams, requireApp } from './app-routes.ts';
import { appOptionsChangeShape, appOptionsShape } from './contract.ts';

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
          shown: ['memory', 'cpus', 'network', 'swap', 'healthCheck', 'endpoint'],
        },
        schema: { params: appParams, body: appOptionsChangeShape, response: { 200: appOptionsShape } },
      },
      async ({ account, params, body }) => {
        const app = await requireApp(deps, account, params.app);
        // Both give an app more of the machine than its container.
        if (!isAdmin(account) && (body.network === 'host' || body.dockerSocket === true))
          throw new UserError(
            'FORBIDDEN',
            'only an administrator gives an app the network of the host or the Docker socket',
          );
        return describe(await deps.apps.changeOptions(app.name, (options) => changed(options, body)));
      },
    );
  };
}

/** With what is changed; throws when the app cannot have that. */
export function changed(options: AppOptions, change: z.infer<typeof appOptionsChangeShape>): AppOptions {
  const { memory, cpus, swap, port, command, testCommand, healthCheck, endpoint, startTimeout, ...rest } =
    change;
  if (typeof memory === 'number' && memory < smallestMemory)
    throw new UserError('INVALID', 'memory is at least 6M, which is the least a container can have');
  const result: AppOptions = {
    ...options,
    ...(Object.fromEntries(
      Object.entries(rest).filter(([, value]) => value !== undefined),
    ) as Partial<AppOptions>),
    ...(memory !== undefined && { memoryBytes: memory ?? undefined }),
    ...(cpus !== undefined && { cpus: cpus ?? undefined }),
    ...(swap !== undefined && { swap: swap ?? undefined }),
    ...(port !== undefined && { port: port ?? undefined }),
    ...(command !== undefined && { command: command ?? undefined }),
    ...(testCommand !== undefined && { testCommand: testCommand ?? undefined }),
    ...(healthCheck !== undefined && { healthCheck: healthCheck ?? undefined }),
    ...(endpoint !== undefined && { endpoint: endpoint ?? undefined }),
    ...(startTimeout !== undefined && { startSeconds: startTimeout ?? undefined }),
  };
  const problem = problemWithAppOptions(result);
  if (problem) throw new UserError('INVALID', problem);
  return result;
}

function describe(options: AppOptions): z.infer<typeof appOptionsShape> {
  const {
    memoryBytes,
    cpus,
    swap,
    volumes,
    port,
    command,
    testCommand,
    healthCheck,
    endpoint,
    startSeconds,
    ...rest
  } = options;
  return {
    ...rest,
    port: port ?? null,
    command: command ?? null,
    testCommand: testCommand ?? null,
    healthCheck: healthCheck ?? null,
    endpoint: endpoint ?? null,
    startTimeout: startSeconds ?? null,
    memory: memoryBytes ?? null,
    cpus: cpus ?? null,
    swap: swap ?? null,
    volumes: [...volumes],
  };
}
