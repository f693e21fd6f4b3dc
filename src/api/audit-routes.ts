import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { describeBody, type RecordAudit } from '../domain/audit.ts';
import { safeText } from '../domain/safe-text.ts';
import type { AuditLog } from '../store/audit-log.ts';
import { auditShape } from './contract/accounts.ts';
import { linkNext, pageQuery } from './paging.ts';

export type AuditRoutesDeps = { audit: AuditLog };

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the audit log calls it; without it, method and path. `false`: a part of something that is in it already. */
    action?: string | false;
    /** Fields of the body whose values may be in the audit log. */
    shown?: readonly string[];
  }
  interface FastifyRequest {
    /** The code of the problem it is answered with. */
    problem: string | undefined;
  }
}

const auditQuery = pageQuery.extend({
  after: z
    .string()
    .regex(/^\d{1,15}-\d{1,10}$/)
    .optional(),
  app: z.string().max(100).optional(),
});

export function auditRoutes({ audit }: AuditRoutesDeps): FastifyPluginAsyncZod {
  return async (api) => {
    api.get(
      '/audit',
      { config: { right: 'admin' }, schema: { querystring: auditQuery, response: { 200: auditShape } } },
      async ({ query, url }, reply) => {
        const { limit, after, app } = query;
        const entries = await audit.list({ limit: limit + 1, after, app });
        const page = entries.slice(0, limit);
        const last = page.at(-1);
        if (last && entries.length > limit) linkNext(url, reply, last.id);
        return { audit: page.map(({ at, ...entry }) => ({ ...entry, at: at.toISOString() })) };
      },
    );
  };
}

/** Writes down every request that may change something, before it is answered. New routes are covered by themselves. */
export function auditChanges(
  api: FastifyInstance,
  record: RecordAudit,
  addressOf: (request: FastifyRequest['raw']) => string,
): void {
  api.addHook('onSend', async (request, reply) => {
    const { account, method, routeOptions } = request;
    // A read changes nothing, and nothing is written for strangers, who could fill the log.
    if (method === 'GET' || method === 'HEAD' || !account) return;
    const { right, action, shown } = routeOptions.config;
    if (action === false || request.isRepeated) return;
    const { app, ...params } = (request.params ?? {}) as Record<string, string>;
    const made = reply.getHeader('location')?.toString().split('/').at(-1);
    const about = [
      ...Object.entries(params).map(([name, value]) => `${name}=${value}`),
      describeBody(request.body, shown),
      made && `-> ${made}`,
    ];
    await record({
      by: account.name,
      tokenId: account.tokenId,
      address: addressOf(request.raw),
      app: safeText(app ?? (right === 'create' ? nameIn(request.body) : '')),
      action: action ?? `${method} ${(routeOptions.url ?? '').replace('/api/v1', '')}`,
      what: safeText(about.filter(Boolean).join(' '), 500),
      result: request.problem ?? 'ok',
    });
  });
}

function nameIn(body: unknown): string {
  const name = typeof body === 'object' && body !== null && 'name' in body ? body.name : '';
  return typeof name === 'string' ? name : '';
}
