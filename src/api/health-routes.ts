import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Metrics } from '../health/metrics.ts';
import type { Readiness } from '../health/readiness.ts';
import { readinessShape } from './contract.ts';

export type HealthRoutesDeps = { readiness: () => Promise<Readiness>; metrics: Metrics };

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

export function healthRoutes({ readiness, metrics }: HealthRoutesDeps): FastifyPluginAsyncZod {
  return async (api) => {
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
