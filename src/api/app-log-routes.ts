import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { AppName } from '../domain/app.ts';
import { parseSince } from '../domain/since.ts';
import { UserError } from '../errors.ts';
import type { AppLogReader, AppLogStart, NumberedLine } from '../store/app-log-reader.ts';
import type { LogChunk } from '../store/log-reader.ts';
import { type AppRoutesDeps, appParams, requireApp } from './app-routes.ts';
import { sendLog } from './send-log.ts';

export type AppLogRoutesDeps = Pick<AppRoutesDeps, 'apps'> & { appLogs: AppLogReader };

const logQuery = z.object({
  follow: z.enum(['true', 'false']).default('false'),
  /** The last so many. */
  lines: z.coerce.number().int().min(0).max(1_000_000).optional(),
  /** `10m`, `2h`, `1d`, or a moment in ISO 8601. */
  since: z.string().max(40).optional(),
  /** Go on behind this line; `lines` and `since` do not count then. */
  after: z.string().max(20).optional(),
});

/** What the containers of an app print, all releases and instances in one. */
export function appLogRoutes(deps: AppLogRoutesDeps): FastifyPluginAsyncZod {
  return async (api) => {
    api.get(
      '/apps/:app/logs',
      { config: { right: 'read' }, schema: { params: appParams, querystring: logQuery } },
      async (request, reply) => {
        const { account, params, query } = request;
        const app = await requireApp(deps, account, params.app);
        const start = startOf(query);
        await sendLog(request, reply, (signal, seen) =>
          chunks(deps, app.name, seen > 0 ? { after: seen } : start, query.follow === 'true', signal),
        );
        return reply;
      },
    );
  };
}

function startOf({ lines, since }: z.infer<typeof logQuery>): AppLogStart {
  const from = since === undefined ? undefined : parseSince(since, new Date());
  if (since !== undefined && !from)
    throw new UserError('INVALID', 'since is a time span like 10m, 2h or 1d, or a moment in ISO 8601');
  return { ...(lines !== undefined && { lines }), ...(from && { since: from }) };
}

async function* chunks(
  { appLogs }: AppLogRoutesDeps,
  app: AppName,
  start: AppLogStart,
  follow: boolean,
  signal: AbortSignal,
): AsyncGenerator<LogChunk<'end'>> {
  for await (const lines of appLogs.read(app, start, follow, signal)) yield { lines: lines.map(shown) };
  yield { end: 'end' };
}

function shown(numbered: NumberedLine) {
  const { id } = numbered;
  if ('missing' in numbered)
    return {
      id,
      kind: 'detail' as const,
      text: `... ${numbered.missing} older lines not kept: the log of the app has reached its size (GANTRY_APP_LOG) ...`,
    };
  const { at, release, instance, stream, text, notice } = numbered.line;
  return {
    id,
    kind: notice ? ('detail' as const) : ('output' as const),
    time: at,
    release,
    instance,
    stream,
    text,
  };
}
