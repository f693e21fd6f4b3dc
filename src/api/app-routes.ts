import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type Account, canDeploy, canRead } from '../domain/account.ts';
import { type App, type AppName, parseAppName, problemWithAppName } from '../domain/app.ts';
import { parseAppSettings } from '../domain/app-settings.ts';
import { problemWithEnvName, problemWithEnvValue } from '../domain/env.ts';
import { UserError } from '../errors.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import { appShape, appsShape, envChangeShape, envShape } from './contract/apps.ts';
import { pageOf, pageQuery } from './paging.ts';
import { appNotFound } from './rights.ts';

export type AppRoutesDeps = {
  apps: AppStore;
  deployments: DeploymentStore;
  appUrl: (app: AppName) => string;
};

/** Apps and their variables. */
export function appRoutes(deps: AppRoutesDeps): FastifyPluginAsyncZod {
  return async (api) => {
    api.get(
      '/apps',
      { config: { right: 'token' }, schema: { querystring: pageQuery, response: { 200: appsShape } } },
      async (request, reply) => {
        const visible = (await deps.apps.list()).filter((app) => canRead(request.account, app.name));
        const page = pageOf(visible, ({ name }) => name, request, reply);
        return { apps: await Promise.all(page.map((app) => describeApp(deps, app))) };
      },
    );

    api.post(
      '/apps',
      {
        config: { right: 'create', action: 'create app' },
        schema: { body: z.strictObject({ name: z.string() }), response: { 201: appShape } },
      },
      async ({ account, body }, reply) => {
        const name = parseAppName(body.name);
        if (!name)
          throw new UserError(
            'INVALID',
            `"${body.name.slice(0, 50)}" cannot be an app`,
            problemWithAppName(body.name),
          );
        if (!canDeploy(account, name)) throw new UserError('FORBIDDEN', `this token may not create ${name}`);
        if (await deps.apps.get(name)) throw new UserError('CONFLICT', `the app ${name} exists already`);
        await deps.apps.create(name);
        const app = await requireApp(deps, account, name);
        return reply
          .status(201)
          .header('location', `/api/v1/apps/${name}`)
          .send(await describeApp(deps, app));
      },
    );

    api.get(
      '/apps/:app',
      { config: { right: 'read' }, schema: { params: appParams, response: { 200: appShape } } },
      async ({ account, params }) => describeApp(deps, await requireApp(deps, account, params.app)),
    );

    api.get(
      '/apps/:app/env',
      { config: { right: 'deploy' }, schema: { params: appParams, response: { 200: envShape } } },
      async ({ account, params }, reply) => {
        const app = await requireApp(deps, account, params.app);
        // Read before the variables: at worst a change is refused that would have been right.
        void reply.header('etag', `"${await deps.apps.envVersion(app.name)}"`);
        return { env: await deps.apps.env(app.name) };
      },
    );

    api.patch(
      '/apps/:app/env',
      {
        config: { right: 'deploy', action: 'change env' },
        schema: { params: appParams, body: envChangeShape, response: { 200: envShape } },
      },
      async ({ account, params, body, headers }, reply) => {
        const app = await requireApp(deps, account, params.app);
        const set: Record<string, string> = {};
        const unset: string[] = [];
        for (const [name, value] of Object.entries(body.env)) {
          const problem =
            problemWithEnvName(name) ?? (value === null ? undefined : problemWithEnvValue(name, value));
          if (problem) throw new UserError('INVALID', problem);
          if (value === null) unset.push(name);
          else set[name] = value;
        }
        // A wrong port or path is told now, not at the next deployment.
        const settings = parseAppSettings(set);
        if ('problems' in settings) throw new UserError('INVALID', settings.problems.join('; '));
        const changed = await deps.apps.changeEnv(app.name, { set, unset }, versionsIn(headers['if-match']));
        if (changed === 'changed meanwhile')
          throw new UserError(
            'PRECONDITION_FAILED',
            `the variables of ${app.name} were changed meanwhile`,
            'look at them and try again',
          );
        void reply.header('etag', `"${changed}"`);
        return { env: await deps.apps.env(app.name) };
      },
    );
  };
}

/** The versions that `If-Match` asks for; without it, or with `*`, every one is right. */
function versionsIn(header: string | undefined): number[] | undefined {
  if (header === undefined || header.trim() === '*') return undefined;
  return header.split(',').flatMap((tag) => {
    const version = /^\s*"(\d{1,15})"\s*$/.exec(tag)?.[1];
    return version === undefined ? [] : [Number(version)];
  });
}

export const appParams = z.object({ app: z.string() });

/** The same answer for an app that does not exist and one that is not theirs. */
export async function requireApp(
  deps: Pick<AppRoutesDeps, 'apps'>,
  account: Account,
  text: string,
): Promise<App> {
  const name = parseAppName(text);
  const app = name && canRead(account, name) ? await deps.apps.get(name) : undefined;
  if (!app) throw appNotFound(text);
  return app;
}

async function describeApp(deps: AppRoutesDeps, app: App): Promise<z.infer<typeof appShape>> {
  const [latest] = await deps.deployments.list(app.name, 1);
  return {
    name: app.name,
    branch: app.branch,
    live: app.live ?? null,
    state: stateOf(app),
    stopped: app.stopped ? { by: app.stopped.by, at: app.stopped.at.toISOString() } : null,
    url: deps.appUrl(app.name),
    latest: latest ? { number: latest.number, state: latest.state } : null,
  };
}

export function stateOf({ live, stopped, isDeleted }: App): z.infer<typeof appShape>['state'] {
  if (isDeleted) return 'deleting';
  if (stopped) return stopped.isDone ? 'stopped' : 'stopping';
  return live === undefined ? 'new' : 'live';
}
