import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type AppName, parseAppName } from '../domain/app.ts';
import { imageName, isTag, parseImageReference } from '../domain/image-reference.ts';
import { statusEvents, statusWebhook } from '../domain/outgoing-webhook.ts';
import { dockerHub } from '../domain/registry-login.ts';
import { parseRemoteUrl, showRemoteUrl } from '../domain/remote-url.ts';
import {
  type Delivery,
  isOfImages,
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
} from './contract/webhooks.ts';

type DeliveryAnswer = { status: 200 | 202 | 400 | 401 | 404; body: z.infer<typeof deliveryAnswerShape> };

export type WebhookRoutesDeps = Pick<AppRoutesDeps, 'apps'> & {
  webhooks: WebhookStore;
  outgoing: OutgoingStore;
  /** Has the branch looked at every so many seconds; `undefined`: not any more. */
  schedulePoll: (app: AppName, everySeconds: number | undefined) => Promise<void>;
  receiveDelivery: (
    app: AppName,
    delivery: {
      provider: WebhookProvider;
      headers: IncomingHttpHeaders;
      body: Buffer;
      /** At the end of the address. */
      token?: string;
    },
  ) => Promise<DeliveryAnswer>;
  /** How the secret stands at the end of the address. */
  tokenInAddress: (secret: string) => string;
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
    const options = { bodyLimit: largestDelivery, config: { right: 'public' } } as const;
    const params = appParams.extend({ provider: z.string() });
    api.post(
      '/webhooks/:app/:provider',
      { ...options, schema: { params, response: answers } },
      async (request, reply) => {
        const answer = await receive(deps, request.params, request);
        return reply.status(answer.status).send(answer.body);
      },
    );

    // For senders who can sign nothing and set no header.
    api.post(
      '/webhooks/:app/:provider/:token',
      { ...options, schema: { params: params.extend({ token: z.string().max(200) }), response: answers } },
      async (request, reply) => {
        const answer = await receive(deps, request.params, request);
        return reply.status(answer.status).send(answer.body);
      },
    );
  };
}

async function receive(
  deps: WebhookRoutesDeps,
  { app: name, provider: providerName, token }: { app: string; provider: string; token?: string },
  { headers, body }: { headers: IncomingHttpHeaders; body: unknown },
): Promise<DeliveryAnswer> {
  const app = parseAppName(name);
  const provider = webhookProviders.find((one) => one === providerName);
  if (!app || !provider)
    throw new UserError(
      'NOT_FOUND',
      'there is no such webhook',
      `providers are ${webhookProviders.join(', ')}`,
    );
  const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
  return deps.receiveDelivery(app, { provider, headers, body: bytes, ...(token !== undefined && { token }) });
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
        config: { right: 'deploy', action: 'link webhook', shown: ['provider', 'branch', 'tag'] },
        schema: { params: appParams, body: newWebhookShape, response: { 200: madeWebhookShape } },
      },
      async ({ account, params, body }, reply) => {
        const { sshKey, statusToken, pollSeconds } = body;
        const link = isOfImages(body.provider) ? imageLink(body) : forgeLink(body);
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
        return reply.header('cache-control', 'no-store').send({
          ...(await describeLink(deps, name, made)),
          path: pathOf(deps, name, made, secret),
          secret,
        });
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
        if (typeof pollSeconds === 'number') refuseForImages(link.provider);
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
        return reply.header('cache-control', 'no-store').send({
          ...(await describeLink(deps, name, link)),
          path: pathOf(deps, name, link, secret),
          secret,
        });
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

type NewLink = z.infer<typeof newWebhookShape>;
type Linked = Pick<WebhookLink, 'provider' | 'repository' | 'branch' | 'tag'>;

function forgeLink({ provider, repository, branch = '', sshKey }: NewLink): Linked {
  const url = parseRemoteUrl(repository);
  if ('problem' in url)
    throw new UserError(
      'INVALID',
      `the repository: ${url.problem}`,
      'write https://host/path.git or git@host:path.git',
    );
  if (url.protocol === 'ssh' && sshKey === undefined)
    throw new UserError('INVALID', 'an ssh URL needs a key', 'gantry webhooks link … --key FILE');
  if (!/^[^\0-\x20\x7f~^:?*[\\]+$/.test(branch))
    throw new UserError('INVALID', 'that is no name of a branch', 'gantry webhooks link … --branch main');
  return { provider, repository, branch, tag: undefined };
}

function imageLink({ provider, repository, tag, pollSeconds, sshKey }: NewLink): Linked {
  const reference = parseImageReference(repository);
  if ('problem' in reference) throw new UserError('INVALID', reference.problem);
  if (reference.digest !== undefined)
    throw new UserError('INVALID', 'a digest never changes: link a tag', '… --image shop --tag latest');
  const wanted = tag ?? reference.tag ?? 'latest';
  if (!isTag(wanted)) throw new UserError('INVALID', 'that is no tag of an image', '… --tag latest');
  if (provider === 'dockerhub' && reference.host !== dockerHub)
    throw new UserError('INVALID', `${reference.host} is not Docker Hub`, '… --provider registry');
  if (pollSeconds !== undefined) refuseForImages(provider);
  if (sshKey !== undefined) throw new UserError('INVALID', 'a key is for a repository, not for an image');
  return { provider, repository: imageName(reference), branch: '', tag: wanted };
}

function refuseForImages(provider: WebhookProvider): void {
  if (isOfImages(provider))
    throw new UserError('INVALID', 'only the branch of a repository can be looked at, not an image');
}

/** Docker Hub can neither sign nor send a header, so the secret is a part of the address. */
function pathOf(
  { tokenInAddress }: WebhookRoutesDeps,
  app: AppName,
  { provider }: WebhookLink,
  secret: string,
): string {
  const path = `/webhooks/${app}/${provider}`;
  return provider === 'dockerhub' ? `${path}/${tokenInAddress(secret)}` : path;
}

function notLinked(app: AppName): UserError {
  return new UserError(
    'NOT_FOUND',
    `${app} is not linked to a repository`,
    'gantry webhooks link APP --provider github --repo URL --branch main',
  );
}

function refuseWithoutStatus(provider: WebhookProvider): void {
  if (provider === 'generic' || isOfImages(provider))
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
  const { provider, repository, branch, tag, createdAt, pollSeconds } = link;
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
    tag: tag ?? null,
    repository: isOfImages(provider) ? repository : showRemoteUrl(repository),
    path: `/webhooks/${app}/${provider}`,
    createdAt: createdAt.toISOString(),
  };
}

function describeDelivery(delivery: Delivery): z.infer<typeof deliveryShape> {
  const { id, provider, receivedAt, state, reason, number, push, image } = delivery;
  return {
    id,
    provider,
    state,
    receivedAt: receivedAt.toISOString(),
    reason: reason ?? null,
    number: number ?? null,
    branch: push?.branch ?? null,
    commit: push?.commit ?? null,
    image: image ? { reference: `${image.repository}:${image.tag}`, digest: image.digest ?? null } : null,
  };
}
