import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type DomainName, parseDomainName } from '../domain/domain-name.ts';
import { UserError } from '../errors.ts';
import type { DomainStore } from '../store/domain-store.ts';
import { type AppRoutesDeps, appParams, requireApp } from './app-routes.ts';
import { domainShape, domainsShape } from './contract.ts';

export type DomainRoutesDeps = Pick<AppRoutesDeps, 'apps'> & {
  domains: DomainStore;
  /** What every app's own host name ends in. */
  appDomain: string;
};

/** Host names of apps; in force at once. */
export function domainRoutes({ apps, domains, appDomain }: DomainRoutesDeps): FastifyPluginAsyncZod {
  return async (api) => {
    api.get(
      '/apps/:app/domains',
      { config: { right: 'read' }, schema: { params: appParams, response: { 200: domainsShape } } },
      async ({ account, params }) => {
        const { name } = await requireApp({ apps }, account, params.app);
        return { domains: [`${name}.${appDomain}`, ...(await domains.list(name))] };
      },
    );

    api.post(
      '/apps/:app/domains',
      {
        config: { right: 'deploy', action: 'add domain', shown: ['domain'] },
        schema: { params: appParams, body: domainShape, response: { 201: domainShape } },
      },
      async ({ account, params, body }, reply) => {
        const { name } = await requireApp({ apps }, account, params.app);
        const domain = parse(body.domain);
        if (domain === appDomain || domain.endsWith(`.${appDomain}`))
          throw new UserError(
            'CONFLICT',
            `names below ${appDomain} are those of apps`,
            'an app has the one of its own name',
          );
        // Whose it is instead is nobody's business.
        if ((await domains.add(name, domain)) !== name)
          throw new UserError(
            'CONFLICT',
            `${domain} is another app's`,
            'remove it there first: gantry domains remove',
          );
        return reply.status(201).send({ domain });
      },
    );

    api.delete(
      '/apps/:app/domains/:domain',
      {
        config: { right: 'deploy', action: 'remove domain' },
        schema: { params: appParams.extend({ domain: z.string().max(300) }), response: { 204: z.null() } },
      },
      async ({ account, params }, reply) => {
        const { name } = await requireApp({ apps }, account, params.app);
        const domain = parse(params.domain);
        if (!(await domains.remove(name, domain)))
          throw new UserError('NOT_FOUND', `${name} has no domain ${domain}`, 'list them: gantry domains');
        return reply.status(204).send(null);
      },
    );
  };
}

function parse(text: string): DomainName {
  const domain = parseDomainName(text);
  if (typeof domain === 'string') return domain;
  throw new UserError('INVALID', `"${text.slice(0, 100)}": ${domain.problem}`);
}
