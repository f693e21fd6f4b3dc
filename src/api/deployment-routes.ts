import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Account } from '../domain/account.ts';
import type { App, AppName } from '../domain/app.ts';
import type { Deployment } from '../domain/deployment.ts';
import { type ImageReference, parseImageReference } from '../domain/image-reference.ts';
import { UserError } from '../errors.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { LogChunk, LogReader } from '../store/log-reader.ts';
import { type AppRoutesDeps, appParams, requireApp } from './app-routes.ts';
import {
  acceptedShape,
  cancelShape,
  deploymentShape,
  deploymentsShape,
  newDeploymentShape,
} from './contract/deployments.ts';
import { changed } from './option-routes.ts';
import { linkNext, pageQuery } from './paging.ts';
import { describeEnvChanges, describeImage } from './release-routes.ts';
import { sendLog } from './send-log.ts';

export type DeploymentRoutesDeps = Pick<AppRoutesDeps, 'apps'> & {
  deployments: DeploymentStore;
  logs: LogReader;
  /** Returns the number of the new deployment. */
  deployAgain: (
    app: App,
    again: { kind: 'restart' | 'start' | 'redeploy'; noCache: boolean; by: string },
  ) => Promise<number>;
  /** Returns the number of the new deployment. */
  deployImage: (app: AppName, reference: ImageReference, by: string) => Promise<number>;
  /** Returns the number of the new deployment. */
  retry: (app: App, number: number, account: Account) => Promise<number>;
};

const deploymentParams = appParams.extend({ number: z.coerce.number().int().positive() });

const listQuery = pageQuery.extend({
  limit: pageQuery.shape.limit.unwrap().default(20),
  after: z.coerce.number().int().positive().optional(),
});

/** Deployments of an app and their logs. */
export function deploymentRoutes(deps: DeploymentRoutesDeps): FastifyPluginAsyncZod {
  const find = askedOnce((app, number) => deps.deployments.get(app, number));
  return async (api) => {
    api.get(
      '/apps/:app/deployments',
      {
        config: { right: 'read' },
        schema: { params: appParams, querystring: listQuery, response: { 200: deploymentsShape } },
      },
      async ({ account, params, query, url }, reply) => {
        const app = await requireApp(deps, account, params.app);
        const { limit, after } = query;
        const found = await deps.deployments.list(app.name, limit + 1, after);
        const page = found.slice(0, limit);
        if (found.length > limit) linkNext(url, reply, String(page.at(-1)?.number));
        return { deployments: page.map(describe) };
      },
    );

    api.post(
      '/apps/:app/deployments',
      {
        config: { right: 'deploy', action: 'deploy', shown: ['kind', 'healthCheck', 'endpoint'] },
        schema: { params: appParams, body: newDeploymentShape, response: { 202: acceptedShape } },
      },
      async ({ account, params, body }, reply) => {
        const app = await requireApp(deps, account, params.app);
        const number =
          body.kind === 'image'
            ? await deployNewImage(deps, app, body, account)
            : await deps.deployAgain(app, { ...body, by: account.name });
        return reply
          .status(202)
          .header('location', `/api/v1/apps/${app.name}/deployments/${number}`)
          .send({ number });
      },
    );

    api.get(
      '/apps/:app/deployments/:number',
      { config: { right: 'read' }, schema: { params: deploymentParams, response: { 200: deploymentShape } } },
      async ({ account, params }) => {
        const app = await requireApp(deps, account, params.app);
        const deployment = await deps.deployments.get(app.name, params.number);
        if (!deployment) throw notFound(params.number);
        return describe(deployment);
      },
    );

    api.post(
      '/apps/:app/deployments/:number/cancel',
      {
        config: { right: 'deploy', action: 'cancel deployment' },
        schema: { params: deploymentParams, response: { 200: cancelShape } },
      },
      async ({ account, params }) => {
        const app = await requireApp(deps, account, params.app);
        if (!(await deps.deployments.get(app.name, params.number))) throw notFound(params.number);
        return { result: await deps.deployments.cancel(app.name, params.number, `by ${account.name}`) };
      },
    );

    api.post(
      '/apps/:app/deployments/:number/retry',
      {
        config: { right: 'deploy', action: 'retry deployment' },
        schema: { params: deploymentParams, response: { 202: acceptedShape } },
      },
      async ({ account, params }, reply) => {
        const app = await requireApp(deps, account, params.app);
        const number = await deps.retry(app, params.number, account);
        return reply
          .status(202)
          .header('location', `/api/v1/apps/${app.name}/deployments/${number}`)
          .send({ number });
      },
    );

    api.get(
      '/apps/:app/deployments/:number/logs',
      { config: { right: 'read' }, schema: { params: deploymentParams } },
      async (request, reply) => {
        const { account, params } = request;
        const app = await requireApp(deps, account, params.app);
        if (!(await deps.deployments.get(app.name, params.number))) throw notFound(params.number);
        await sendLog(request, reply, (signal) =>
          withCrash(deps.logs.follow(app.name, params.number, signal), () => find(app.name, params.number)),
        );
        return reply;
      },
    );
  };
}

/** The options first: whatever comes of the deployment, they are what was asked for. */
async function deployNewImage(
  deps: DeploymentRoutesDeps,
  app: App,
  {
    image,
    login,
    port,
    command,
    healthCheck,
    endpoint,
    startTimeout,
  }: Extract<z.infer<typeof newDeploymentShape>, { kind: 'image' }>,
  account: Account,
): Promise<number> {
  const reference = parseImageReference(image);
  if ('problem' in reference)
    throw new UserError(
      'INVALID',
      reference.problem,
      'an image is called like nginx, ghcr.io/ana/shop:1.2 or registry.example:5000/shop@sha256:…',
    );
  const options = { port, command, healthCheck, endpoint, startTimeout };
  if (Object.values(options).some((value) => value !== undefined))
    await deps.apps.changeOptions(app.name, (now) => changed(now, options));
  if (login) await deps.apps.setImageLogin(app.name, { host: reference.host, ...login });
  if (login === null) await deps.apps.forgetImageLogin(app.name, reference.host);
  return deps.deployImage(app.name, reference, account.name);
}

function notFound(number: number): UserError {
  return new UserError('NOT_FOUND', `there is no deploy #${number}`, 'list them: gantry deploys');
}

/** Not less than none, should the clocks of two machines differ. */
function secondsBetween(from: Date, to: Date): number {
  return Math.max(0, to.getTime() - from.getTime()) / 1000;
}

type Find = (app: AppName, number: number) => Promise<Deployment | undefined>;

/** Thousands who follow a log come to its end at the same time; so many questions at once would take too long. */
function askedOnce(find: Find): Find {
  const asked = new Map<string, ReturnType<Find>>();
  return (app, number) => {
    const name = `${app} ${number}`;
    const known = asked.get(name);
    if (known) return known;
    const asking = find(app, number)
      .catch(() => find(app, number))
      .finally(() => asked.delete(name));
    asked.set(name, asking);
    return asking;
  };
}

/** What became of a release is known after its log has ended. */
async function* withCrash(
  chunks: AsyncIterable<LogChunk>,
  find: () => Promise<Deployment | undefined>,
): AsyncGenerator<LogChunk> {
  for await (const chunk of chunks) {
    const crash = 'end' in chunk ? (await find())?.crash : undefined;
    if (crash)
      yield {
        lines: [
          { kind: 'error', text: `it ${crash.reason}` },
          ...crash.lastLines.map((line) => ({ kind: 'output' as const, text: `  ${line}` })),
        ],
      };
    yield chunk;
  }
}

function describe(deployment: Deployment): z.infer<typeof deploymentShape> {
  const { number, state, trigger, commit, pull, subject, branch, by, runs } = deployment;
  const { step, reason, supersededBy, rollbackTo, createdAt, startedAt, endedAt } = deployment;
  const end = endedAt ?? new Date();
  return {
    number,
    state,
    trigger,
    commit,
    image: describeImage(pull),
    subject,
    branch,
    by,
    step: step ?? null,
    reason: reason ?? null,
    supersededBy: supersededBy ?? null,
    rollbackTo: rollbackTo ?? null,
    crash: deployment.crash?.reason ?? null,
    env: describeEnvChanges(deployment.envChanges),
    runs,
    createdAt: createdAt.toISOString(),
    startedAt: startedAt?.toISOString() ?? null,
    endedAt: endedAt?.toISOString() ?? null,
    waited: secondsBetween(createdAt, startedAt ?? end),
    took: startedAt ? secondsBetween(startedAt, end) : null,
  };
}
