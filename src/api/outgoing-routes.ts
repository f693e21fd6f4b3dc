import { isIP } from 'node:net';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Account } from '../domain/account.ts';
import {
  allApps,
  eventTypes,
  type Notice,
  type OutgoingWebhook,
  showWebhookUrl,
  type WebhookScope,
} from '../domain/outgoing-webhook.ts';
import { UserError } from '../errors.ts';
import type { OutgoingStore } from '../store/outgoing-store.ts';
import { type AppRoutesDeps, appParams, requireApp } from './app-routes.ts';
import {
  madeOutgoingShape,
  newOutgoingShape,
  noticeShape,
  noticesShape,
  outgoingListShape,
  outgoingShape,
} from './contract/outgoing-webhooks.ts';

export type OutgoingRoutesDeps = Pick<AppRoutesDeps, 'apps'> & {
  outgoing: OutgoingStore;
  /** Where a host is, or why nothing may be sent to it. */
  resolveHost: (host: string) => Promise<{ address: string } | { problem: string; hint?: string }>;
  /** Sends a test and waits for the answer. */
  testWebhook: (webhook: OutgoingWebhook) => Promise<Notice>;
  resendNotice: (ref: { scope: WebhookScope; webhook: string; id: string }) => Promise<Notice | undefined>;
};

const mostOfOneScope = 20;

/** Who is told about deployments: of one app, or, for administrators, of all of them. */
export function outgoingRoutes(deps: OutgoingRoutesDeps, of: 'app' | 'all'): FastifyPluginAsyncZod {
  const { outgoing } = deps;
  const base = of === 'app' ? '/apps/:app/webhooks/out' : '/webhooks/out';
  const [look, change] = of === 'app' ? (['read', 'deploy'] as const) : (['admin', 'admin'] as const);
  // Where there is no app in the address, nobody reads it.
  const params = (of === 'app' ? appParams : z.object({})) as typeof appParams;
  const one = params.extend({ id: z.string().max(40) });
  const scopeOf = async (account: Account, app: string): Promise<WebhookScope> =>
    of === 'app' ? (await requireApp(deps, account, app)).name : allApps;
  const find = async (account: Account, { app, id }: z.infer<typeof one>): Promise<OutgoingWebhook> => {
    const webhook = await outgoing.get(await scopeOf(account, app), id);
    if (!webhook) throw notFound();
    return webhook;
  };

  return async (api) => {
    api.get(
      base,
      { config: { right: look }, schema: { params, response: { 200: outgoingListShape } } },
      async ({ account, params: { app } }) => {
        const webhooks = await outgoing.list(await scopeOf(account, app));
        return { webhooks: await Promise.all(webhooks.map((webhook) => describe(deps, webhook))) };
      },
    );

    api.post(
      base,
      {
        config: { right: change, action: 'add outgoing webhook', shown: ['format', 'events'] },
        schema: { params, body: newOutgoingShape, response: { 201: madeOutgoingShape } },
      },
      async ({ account, params: { app }, body }, reply) => {
        const url = await checkedUrl(deps, body.url);
        const scope = await scopeOf(account, app);
        if ((await outgoing.list(scope)).length >= mostOfOneScope)
          throw new UserError(
            'CONFLICT',
            `there are ${mostOfOneScope} already`,
            'gantry webhooks out remove takes one away',
          );
        const { id, secret } = await outgoing.add({
          scope,
          url,
          format: body.format,
          events: body.events ?? eventTypes,
          provider: undefined,
          createdBy: account.name,
        });
        const made = await outgoing.get(scope, id);
        if (!made) throw notFound();
        return reply
          .status(201)
          .header('cache-control', 'no-store')
          .send({ ...(await describe(deps, made)), secret });
      },
    );

    api.delete(
      `${base}/:id`,
      {
        config: { right: change, action: 'remove outgoing webhook' },
        schema: { params: one, response: { 204: z.null() } },
      },
      async ({ account, params: { app, id } }, reply) => {
        if (!(await outgoing.remove(await scopeOf(account, app), id))) throw notFound();
        return reply.status(204).send(null);
      },
    );

    api.post(
      `${base}/:id/secret`,
      {
        config: { right: change, action: 'rotate outgoing secret' },
        schema: { params: one, response: { 200: madeOutgoingShape } },
      },
      async (request, reply) => {
        const webhook = await find(request.account, request.params);
        if (webhook.format === 'status')
          throw new UserError(
            'CONFLICT',
            'a commit status is sent with a token of the forge',
            'give another one: gantry webhooks set --status',
          );
        const secret = await outgoing.rotateSecret(webhook.scope, webhook.id);
        if (secret === undefined) throw notFound();
        return reply.header('cache-control', 'no-store').send({ ...(await describe(deps, webhook)), secret });
      },
    );

    api.post(
      `${base}/:id/enable`,
      {
        config: { right: change, action: 'enable outgoing webhook' },
        schema: { params: one, response: { 200: outgoingShape } },
      },
      async ({ account, params: { app, id } }) => {
        const scope = await scopeOf(account, app);
        const isThere = await outgoing.disable(scope, id, '');
        const webhook = isThere ? await outgoing.get(scope, id) : undefined;
        if (!webhook) throw notFound();
        return describe(deps, webhook);
      },
    );

    api.post(
      `${base}/:id/test`,
      {
        config: { right: change, action: 'test outgoing webhook' },
        schema: { params: one, response: { 200: noticeShape } },
      },
      async (request) => {
        const webhook = await find(request.account, request.params);
        if (webhook.format === 'status')
          throw new UserError('CONFLICT', 'a commit has no status that is a test', 'deploy one');
        return describeNotice(await deps.testWebhook(webhook));
      },
    );

    api.get(
      `${base}/:id/deliveries`,
      { config: { right: look }, schema: { params: one, response: { 200: noticesShape } } },
      async (request) => {
        const { scope, id } = await find(request.account, request.params);
        return { deliveries: (await outgoing.notices(scope, id)).map(describeNotice) };
      },
    );

    api.post(
      `${base}/:id/deliveries/:delivery/redeliver`,
      {
        config: { right: change, action: 'redeliver event' },
        schema: { params: one.extend({ delivery: z.string().max(200) }), response: { 202: noticeShape } },
      },
      async (request, reply) => {
        const { scope, id } = await find(request.account, request.params);
        const again = await deps.resendNotice({ scope, webhook: id, id: request.params.delivery });
        if (!again)
          throw new UserError(
            'NOT_FOUND',
            'there is no delivery of this id',
            `list them: gantry webhooks out deliveries ${id}`,
          );
        return reply.status(202).send(describeNotice(again));
      },
    );
  };
}

/** What is wrong with an address by itself is told at once; a name is looked up each time something is sent. */
async function checkedUrl({ resolveHost }: OutgoingRoutesDeps, text: string): Promise<string> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:') || !/^[\x21-\x7e]+$/.test(text))
    throw new UserError('INVALID', 'that is no URL to send to', 'write https://host/path');
  if (url.username !== '' || url.password !== '')
    throw new UserError('INVALID', 'a login in the URL is not sent', 'every event is signed instead');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) !== 0 || host === 'localhost') {
    const found = await resolveHost(host);
    if ('problem' in found) throw new UserError('INVALID', found.problem, found.hint);
  }
  url.hash = '';
  return url.href;
}

function notFound(): UserError {
  return new UserError('NOT_FOUND', 'there is no such outgoing webhook', 'list them: gantry webhooks out');
}

async function describe(
  { outgoing }: OutgoingRoutesDeps,
  webhook: OutgoingWebhook,
): Promise<z.infer<typeof outgoingShape>> {
  const { id, scope, url, format, events, createdAt, createdBy, disabled } = webhook;
  const [last] = await outgoing.notices(scope, id);
  return {
    id,
    app: scope === allApps ? null : scope,
    url: showWebhookUrl(url, format),
    format,
    events: [...events],
    createdAt: createdAt.toISOString(),
    createdBy,
    disabled: disabled ?? null,
    last: last ? describeNotice(last) : null,
  };
}

function describeNotice(notice: Notice): z.infer<typeof noticeShape> {
  const { id, payload, createdAt, state, attempts, verdict, nextAt } = notice;
  return {
    id,
    type: payload.type,
    app: payload.data.app,
    number: payload.data.number,
    state,
    attempts,
    verdict: verdict ?? null,
    createdAt: createdAt.toISOString(),
    nextAt: nextAt?.toISOString() ?? null,
  };
}
