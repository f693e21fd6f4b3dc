import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { connectionCheckShape } from './contract/server.ts';

const lines = 4;
const pauseMs = 250;

/**
 * For `gantry doctor`: whether what stands between lets a large body in, the lines of an answer out one by one, and an
 * answer be silent for a while.
 */
export function connectionRoutes(): FastifyPluginAsyncZod {
  return async (api) => {
    api.post(
      '/connection-check',
      { config: { right: 'admin', action: false }, schema: { body: connectionCheckShape } },
      async ({ body }, reply) => {
        reply.hijack();
        reply.raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'x-accel-buffering': 'no' });
        for (let line = 1; line <= lines && !reply.raw.destroyed; line += 1) {
          reply.raw.write(`${JSON.stringify({ line, received: body.filler.length })}\n`);
          await sleep(pauseMs);
        }
        const gone = new AbortController();
        reply.raw.once('close', () => gone.abort());
        if (reply.raw.destroyed) gone.abort();
        await sleep(body.silence * 1000, undefined, { signal: gone.signal }).catch(() => {});
        if (body.silence > 0) reply.raw.write(`${JSON.stringify({ silent: body.silence })}\n`);
        reply.raw.end();
      },
    );
  };
}
