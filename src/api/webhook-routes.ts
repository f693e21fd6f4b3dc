import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type AppName, parseAppName } from '../domain/app.ts';
import { statusEvents, statusWebhook } from '../domain/outgoing-webhook.ts';
import { parseRemoteUrl, showRemoteUrl } from '../domain/remote-url.ts';
import {
  type Delivery,
  type WebhookLink,
  type WebhookProvider,
  webhookProviders,
} from '../domain/webhook.ts';
import { UserError } from '../errors.ts';
import type { OutgoingStore } from '../store/outgoing-store.ts';
import type { WebhookStore } from '../store/webhook-store.ts';
import { type AppRoutesDeps, appParams, requireApp } from './app-routes.ts';
import {
  deliveriesShape,
  deliveryAnswerShape,
  type deliveryShape,
  madeWebhookShape,
  newWebhookShape,
  webhookShape as shownWebhookShape,
  webhookChangeShape,
  type webhookShape,
} from './contract.ts';

type DeliveryAnswer = { status: 200 | 202 | 400 | 401 | 404; body: z.infer<typeof deliveryAnswerShape> };

export type WebhookRoutesDeps = Pick<AppRoutesDeps, 'apps'> & {
  webhooks: WebhookStore;
  outgoing: OutgoingStore;
  /** Has the branch looked at every so many seconds; `undefined`: not any more. */
  schedulePoll: (app: AppName, everySeconds: number | undefined) => Promise<void>;
  receiveDelivery: (
    app: AppName,
    delivery: { provider: WebhookProvider; headers: IncomingHttpHeaders; body: Buffer },
  ) => Promise<DeliveryAnswer>;
  redeliver: (app: AppName, id: string) => Promise<DeliveryAnswer | undefined>;
};

/** As large as GitHub's largest. */
const largestDelivery = 25 * 1024 ** 2;

/** Where forges send what happened. They have no token: the signature of each delivery is what lets it in. */
export function deliveryRoutes(deps: WebhookRoutesDeps): FastifyPluginAsyncZod {
  return async (api) => {
    // Signatures are over the bytes as they came.
    api.removeAllContentTypeParsers();
    api.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));

    const answers = Object.fromEntries(
      [200, 202, 400, 401, 404].map((status) => [status, deliveryAnswerShape]),
    );
    api.post(
      '/webhooks/:app/:provider',
      {
        bodyLimit: largestDelivery,
        config: { right: 'public' },
        schema: { params: appParams.extend({ provider: z.string() }), response: answers },
      },
      async ({ params, headers, body }, reply) => {
        const app = parseAppName(params.app);
        const provider = webhookProviders.find((name) => name === params.provider);
        if (!app || !provider)
          throw new UserError(
            'NOT_FOUND',
            'there is no such webhook',
            `providers are ${webhookProviders.join(', ')}`,
          );
        const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
        const answer = await deps.receiveDelivery(app, { provider, headers, body: bytes });
        return reply.status(answer.status).send(answer.body);
      },
    );
  };
}

/** Links between apps and repositories elsewhere. */
export function webhookRoutes(deps: WebhookRoutesDeps): FastifyPluginAsyncZod {
  const { webhooks } = deps;
  return async (api) => {
    api.get(
      '/apps/:app/webhook',
      { config: { right: 'read' }, schema: { params: appParams, response: { 200: shownWebhookShape } } },
      async ({ account, params }) => {
        const { name } = await requireApp(deps, account, params.app);
        const link = await webhooks.get(name);
        if (!link) throw notLinked(name);
        return describeLink(deps, name, link);
      },
    );

    api.put(
      '/apps/:app/webhook',
      {
        config: { right: 'deploy', action: 'link webhook', shown: ['provider', 'branch'] },
        schema: { params: appParams, body: newWebhookShape, response: { 200: madeWebhookShape } },
      },
      async ({ account, params, body }, reply) => {
        const { sshKey, statusToken, pollSeconds, ...link } = body;
        const url = parseRemoteUrl(link.repository);
        if ('problem' in url)
          throw new UserError(
            'INVALID',
            `the repository: ${url.problem}`,
            'write https://host/path.git or git@host:path.git',
          );
        if (url.protocol === 'ssh' && sshKey === undefined)
          throw new UserError('INVALID', 'an ssh URL needs a key', 'gantry webhooks link … --key FILE');
        if (!/^[^\0-\x20\x7f~^:?*[\\]+$/.test(link.branch))
          throw new UserError(
            'INVALID',
            'that is no name of a branch',
            'gantry webhooks link … --branch main',
          );
        if (statusToken !== undefined) refuseWithoutStatus(link.provider);
        const { name } = await requireApp(deps, account, params.app);
        const before = await webhooks.get(name);
        // A token is for one repository: another one's forge is not told it.
        const isSame = before?.provider === link.provider && before.repository === link.repository;
        if (!isSame) await deps.outgoing.remove(name, statusWebhook);
        const secret = await webhooks.link(name, { ...link, pollSeconds }, sshKey);
        const made = await webhooks.get(name);
        if (!made) throw notLinked(name);
        if (statusToken !== undefined) await tellStatus(deps, name, made, statusToken, account.name);
        await deps.schedulePoll(name, pollSeconds);
        return reply
          .header('cache-control', 'no-store')
          .send({ ...(await describeLink(deps, name, made)), secret });
      },
    );

    api.patch(
      '/apps/:app/webhook',
      {
        config: { right: 'deploy', action: 'change webhook' },
        schema: { params: appParams, body: webhookChangeShape, response: { 200: shownWebhookShape } },
      },
      async ({ account, params, body }) => {
        const { name } = await requireApp(deps, account, params.app);
        const link = await webhooks.get(name);
        if (!link) throw notLinked(name);
        const { pollSeconds, statusToken } = body;
        if (statusToken) {
          refuseWithoutStatus(link.provider);
          await tellStatus(deps, name, link, statusToken, account.name);
        }
        if (statusToken === null) await deps.outgoing.remove(name, statusWebhook);
        if (pollSeconds !== undefined) {
          if (!(await webhooks.setPoll(name, pollSeconds ?? undefined))) throw notLinked(name);
          await deps.schedulePoll(name, pollSeconds ?? undefined);
        }
        return describeLink(deps, name, (await webhooks.get(name)) ?? link);
      },
    );

    api.delete(
      '/apps/:app/webhook',
      {
        config: { right: 'deploy', action: 'unlink webhook' },
        schema: { params: appParams, response: { 204: z.null() } },
      },
      async ({ account, params }, reply) => {
        const { name } = await requireApp(deps, account, params.app);
        if (!(await webhooks.unlink(name))) throw notLinked(name);
        await deps.schedulePoll(name, undefined);
        await deps.outgoing.remove(name, statusWebhook);
        return reply.status(204).send(null);
      },
    );

    api.post(
      '/apps/:app/webhook/secret',
      {
        config: { right: 'deploy', action: 'rotate webhook secret' },
        schema: { params: appParams, response: { 200: madeWebhookShape } },
      },
      async ({ account, params }, reply) => {
        const { name } = await requireApp(deps, account, params.app);
        const [secret, link] = [await webhooks.rotateSecret(name), await webhooks.get(name)];
        if (secret === undefined || !link) throw notLinked(name);
        return reply
          .header('cache-control', 'no-store')
          .send({ ...(await describeLink(deps, name, link)), secret });
      },
    );

    api.get(
      '/apps/:app/webhook/deliveries',
      { config: { right: 'read' }, schema: { params: appParams, response: { 200: deliveriesShape } } },
      async ({ account, params }) => {
        const { name } = await requireApp(deps, account, params.app);
        return { deliveries: (await webhooks.deliveries(name)).map(describeDelivery) };
      },
    );

    api.post(
      '/apps/:app/webhook/deliveries/:id/redeliver',
      {
        config: { right: 'deploy', action: 'redeliver' },
        schema: {
          params: appParams.extend({ id: z.string().max(200) }),
          response: { 200: deliveryAnswerShape, 202: deliveryAnswerShape },
        },
      },
      async ({ account, params }, reply) => {
        const { name } = await requireApp(deps, account, params.app);
        const answer = await deps.redeliver(name, params.id);
        if (!answer)
          throw new UserError(
            'NOT_FOUND',
            'there is no delivery of this id that could be deployed',
            'list them: gantry webhooks deliveries',
          );
        return reply.status(answer.status === 202 ? 202 : 200).send(answer.body);
      },
    );
  };
}

function notLinked(app: AppName): UserError {
  return new UserError(
    'NOT_FOUND',
    `${app} is not linked to a repository`,
    'gantry webhooks link APP --provider github --repo URL --branch main',
  );
}

function refuseWithoutStatus(provider: WebhookProvider): void {
  if (provider === 'generic')
    throw new UserError(
      'INVALID',
      'only a forge shows the status of a commit',
      'name it: gantry webhooks link … --provider github',
    );
}

async function tellStatus(
  { outgoing }: WebhookRoutesDeps,
  app: AppName,
  { provider, repository }: WebhookLink,
  token: string,
  by: string,
): Promise<void> {
  const webhook = { scope: app, url: repository, format: 'status', provider, createdBy: by } as const;
  await outgoing.add({ ...webhook, events: statusEvents }, { id: statusWebhook, secret: token });
}

async function describeLink(
  { webhooks, outgoing }: WebhookRoutesDeps,
  app: AppName,
  link: WebhookLink,
): Promise<z.infer<typeof webhookShape>> {
  const { provider, repository, branch, createdAt, pollSeconds } = link;
  const [state, status] = await Promise.all([webhooks.pollState(app), outgoing.get(app, statusWebhook)]);
  return {
    poll:
      pollSeconds === undefined
        ? null
        : {
            everySeconds: pollSeconds,
            at: state?.at.toISOString() ?? null,
            problem: state?.problem ?? null,
            since: state?.since?.toISOString() ?? null,
          },
    status: status !== undefined,
    provider,
    branch,
    repository: showRemoteUrl(repository),
    path: `/webhooks/${app}/${provider}`,
    createdAt: createdAt.toISOString(),
  };
}

function describeDelivery(delivery: Delivery): z.infer<typeof deliveryShape> {
  const { id, provider, receivedAt, state, reason, number, push } = delivery;
  return {
    id,
    provider,
    state,
    receivedAt: receivedAt.toISOString(),
    reason: reason ?? null,
    number: number ?? null,
    branch: push?.branch ?? null,
    commit: push?.commit ?? null,
  };
}
