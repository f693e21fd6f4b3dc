import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { canRead } from '../domain/account.ts';
import { showTrouble } from '../domain/app.ts';
import type { DeploymentState } from '../domain/deployment.ts';
import type { Metrics } from '../health/metrics.ts';
import type { Readiness } from '../health/readiness.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import { readinessShape, statusShape } from './contract/server.ts';

export type HealthRoutesDeps = {
  readiness: () => Promise<Readiness>;
  metrics: Metrics;
  apps: AppStore;
  deployments: DeploymentStore;
  version: string;
};

/** For whoever watches over the server: probes of orchestrators need no token, and learn no more than yes or no. */
export function probeRoutes({ readiness }: HealthRoutesDeps): FastifyPluginAsyncZod {
  return async (api) => {
    for (const path of ['/livez', '/healthz'])
      api.get(path, { config: { right: 'public' } }, () => ({ status: 'ok' }));

    api.get('/readyz', { config: { right: 'public' } }, async (_request, reply) => {
      const { isReady } = await readiness();
      return reply.status(isReady ? 200 : 503).send({ status: isReady ? 'ok' : 'unavailable' });
    });
  };
}

export function healthRoutes(deps: HealthRoutesDeps): FastifyPluginAsyncZod {
  const { readiness, metrics, apps, deployments, version } = deps;
  return async (api) => {
    api.get(
      '/api/v1/status',
      { config: { right: 'token' }, schema: { response: { 200: statusShape } } },
      async ({ account }) => {
        const all = await apps.list();
        const [{ isReady }, ...wanted] = await Promise.all([
          readiness(),
          ...all.map(({ name }) => deployments.desired(name)),
        ]);
        const inState = (state: DeploymentState): number =>
          wanted.filter((deployment) => deployment?.state === state).length;
        return {
          version,
          ready: isReady,
          apps: all.length,
          running: inState('running'),
          queued: inState('queued'),
          troubles: all
            .filter(({ name }) => canRead(account, name))
            .flatMap(({ name, trouble }) => (trouble ? [{ app: name, reason: showTrouble(trouble) }] : [])),
        };
      },
    );

    api.get(
      '/api/v1/readiness',
      { config: { right: 'admin' }, schema: { response: { 200: readinessShape } } },
      async () => {
        const { isReady, checks } = await readiness();
        return { ready: isReady, checks };
      },
    );

    api.get('/metrics', { config: { right: 'token' } }, async (_request, reply) => {
      const { type, text } = await metrics.text();
      return reply.header('content-type', type).send(text);
    });
  };
}
