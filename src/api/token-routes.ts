import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { isAdmin, parseScope } from '../domain/account.ts';
import { parseExpiry, problemWithTokenName, type Token } from '../domain/token.ts';
import { UserError } from '../errors.ts';
import type { TokenStore } from '../store/token-store.ts';
import {
  madeTokenShape,
  newTokenShape,
  type tokenShape,
  tokensShape,
  whoamiShape,
} from './contract/accounts.ts';
import { pageOf, pageQuery } from './paging.ts';

export type TokenRoutesDeps = { tokens: TokenStore };

/** Tokens; there is no sign-up: who has one was given it by an administrator. */
export function tokenRoutes({ tokens }: TokenRoutesDeps): FastifyPluginAsyncZod {
  return async (api) => {
    api.get(
      '/whoami',
      { config: { right: 'token' }, schema: { response: { 200: whoamiShape } } },
      async ({ account }) => ({
        id: account.tokenId,
        name: account.name,
        admin: isAdmin(account),
        scopes: [...account.scopes],
      }),
    );

    api.get(
      '/tokens',
      { config: { right: 'admin' }, schema: { querystring: pageQuery, response: { 200: tokensShape } } },
      async (request, reply) => ({
        tokens: pageOf(await tokens.list(), keyOf, request, reply).map(describe),
      }),
    );

    api.post(
      '/tokens',
      {
        config: { right: 'admin', action: 'create token', shown: ['name', 'scopes', 'expires'] },
        schema: { body: newTokenShape, response: { 201: madeTokenShape } },
      },
      async ({ account, body }, reply) => {
        const problem = problemWithTokenName(body.name);
        if (problem) throw new UserError('INVALID', problem);
        const scopes = body.scopes.map((text) => {
          const scope = parseScope(text);
          if (scope) return scope;
          throw new UserError(
            'INVALID',
            `"${text.slice(0, 60)}" is no scope`,
            'scopes are admin, deploy:APP and read:APP',
          );
        });
        const expiresAt = body.expires === null ? undefined : parseExpiry(body.expires, new Date());
        if (body.expires !== null && !expiresAt)
          throw new UserError(
            'INVALID',
            `"${body.expires}" is no time in the future`,
            'write 90d, 12h, 2030-12-31 or 2030-12-31T12:00:00Z',
          );
        const made = await tokens.create({ name: body.name, scopes, createdBy: account.name, expiresAt });
        return reply
          .status(201)
          .header('cache-control', 'no-store')
          .header('location', `/api/v1/tokens/${made.token.tokenId}`)
          .send({ ...describe({ ...made.token, lastUsedAt: undefined }), token: made.secret });
      },
    );

    api.delete(
      '/tokens/:id',
      {
        config: { right: 'admin', action: 'revoke token' },
        schema: { params: z.object({ id: z.string() }), response: { 204: z.null() } },
      },
      async ({ params }, reply) => {
        const result = await tokens.revoke(params.id);
        if (result === 'unknown')
          throw new UserError('NOT_FOUND', 'there is no such token', 'list them: gantry tokens');
        if (result === 'last admin')
          throw new UserError(
            'CONFLICT',
            'this is the only token of an administrator, and without one nobody could make another',
            'make one first: gantry tokens create NAME --scope admin',
          );
        return reply.status(204).send(null);
      },
    );
  };
}

/** In the order they were made. */
function keyOf({ createdAt, tokenId }: Token): string {
  return `${createdAt.toISOString()} ${tokenId}`;
}

function describe(token: Token & { lastUsedAt: Date | undefined }): z.infer<typeof tokenShape> {
  return {
    id: token.tokenId,
    name: token.name,
    scopes: [...token.scopes],
    createdBy: token.createdBy,
    createdAt: token.createdAt.toISOString(),
    expires: token.expiresAt?.toISOString() ?? null,
    lastUsed: token.lastUsedAt?.toISOString() ?? null,
  };
}
