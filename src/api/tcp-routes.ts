import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { canRead } from '../domain/account.ts';
import type { App } from '../domain/app.ts';
import { UserError } from '../errors.ts';
import type { PortRange, TcpPortStore } from '../store/tcp-port-store.ts';
import { type AppRoutesDeps, appParams, requireApp } from './app-routes.ts';
import { tcpListShape, tcpShape } from './contract/networks.ts';
import { pageOf, pageQuery } from './paging.ts';

export type TcpRoutesDeps = Pick<AppRoutesDeps, 'apps'> & {
  tcpPorts: TcpPortStore;
  tcpRange: PortRange;
  /** Whether the router could listen on it. */
  isPortFree: (port: number) => Promise<boolean>;
};

/** TCP services of apps; in force at once. */
export function tcpRoutes(deps: TcpRoutesDeps): FastifyPluginAsyncZod {
  return async (api) => {
    api.get(
      '/tcp',
      {
        config: { right: 'token' },
        schema: { querystring: pageQuery, response: { 200: tcpListShape } },
      },
      async (request, reply) => {
        const apps = (await deps.apps.list()).filter(({ name }) => canRead(request.account, name));
        const tcp = await Promise.all(
          apps.map(async ({ name }) => ({ app: name, port: await deps.tcpPorts.get(name) })),
        );
        const enabled = tcp.flatMap(({ app, port }) => (port === undefined ? [] : [{ app, port }]));
        return { tcp: pageOf(enabled, ({ app }) => app, request, reply) };
      },
    );

    api.put(
      '/apps/:app/tcp',
      {
        config: { right: 'deploy', action: 'enable tcp' },
        schema: { params: appParams, response: { 200: tcpShape } },
      },
      async ({ account, params }) => {
        const app = await requireApp(deps, account, params.app);
        const enabled = await deps.tcpPorts.get(app.name);
        const port = enabled ?? (await enable(deps, app));
        return { app: app.name, port };
      },
    );

    api.delete(
      '/apps/:app/tcp',
      {
        config: { right: 'deploy', action: 'disable tcp' },
        schema: { params: appParams, response: { 204: z.null() } },
      },
      async ({ account, params }, reply) => {
        const app = await requireApp(deps, account, params.app);
        await deps.tcpPorts.disable(app.name);
        return reply.status(204).send(null);
      },
    );
  };
}

/** A port of the range that no app has and no other program listens on. */
async function enable({ tcpPorts, tcpRange, isPortFree }: TcpRoutesDeps, app: App): Promise<number> {
  const taken: number[] = [];
  for (;;) {
    const port = await tcpPorts.allot(app.name, tcpRange, taken);
    if (port === undefined)
      throw new UserError(
        'CONFLICT',
        `no port is left in ${tcpRange.from}-${tcpRange.to}`,
        'take one back with gantry tcp disable, or set GANTRY_TCP_PORTS to a larger range',
      );
    if (await isPortFree(port)) {
      await tcpPorts.announce(app.name);
      return port;
    }
    taken.push(port);
  }
}
