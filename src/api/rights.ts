import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify';
import { type Account, canDeploy, canRead, isAdmin } from '../domain/account.ts';
import { parseAppName } from '../domain/app.ts';
import { UserError } from '../errors.ts';

/** What a route needs, and what the documentation of the API says about it. */
export const rights = {
  public: 'no token',
  token: 'any token',
  create: 'a token with `deploy` for the app it names, or `admin`',
  read: 'a token with `read` or `deploy` for the app, or `admin`',
  deploy: 'a token with `deploy` for the app, or `admin`',
  admin: 'a token with `admin`',
} as const;

type Right = keyof typeof rights;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** `create` is left to the handler, which alone knows the name of the app. */
    right?: Right;
  }
  interface FastifyRequest {
    account: Account;
  }
}

/** A route that does not say who may use it does not come into being. */
export function demandRights(api: FastifyInstance): void {
  api.addHook('onRoute', ({ method, url, config }: RouteOptions) => {
    const right = config?.right;
    const name = `${String(method)} ${url}`;
    if (!right)
      throw new Error(
        `${name} declares no right: add config: { right: 'deploy' } or another of api/rights.ts`,
      );
    if ((right === 'read' || right === 'deploy') && !/\/:app(\/|$)/.test(url))
      throw new Error(`${name}: the right "${right}" is about the :app in the address, and there is none`);
  });
}

/** Throws for an account that may not. An app it may not even read is answered like one that does not exist. */
export function authorise({ account, params, routeOptions }: FastifyRequest): void {
  const right = routeOptions.config.right;
  switch (right) {
    case 'public':
    case 'token':
    case 'create':
      return;
    case 'admin':
      if (isAdmin(account)) return;
      throw new UserError('FORBIDDEN', 'only an administrator may do that', 'it needs a token with admin');
    case 'read':
    case 'deploy': {
      const { app: text } = params as { app: string };
      const app = parseAppName(text);
      if (!app || !canRead(account, app)) throw appNotFound(text);
      if (right === 'read' || canDeploy(account, app)) return;
      throw new UserError(
        'FORBIDDEN',
        `this token may only read ${app}`,
        `it needs a token with deploy:${app}`,
      );
    }
    case undefined:
      throw new UserError('FORBIDDEN', 'nobody may do that');
  }
}

export function appNotFound(text: string): UserError {
  return new UserError(
    'NOT_FOUND',
    `app "${text.slice(0, 50)}" not found or not yours`,
    'list them: gantry apps',
  );
}
