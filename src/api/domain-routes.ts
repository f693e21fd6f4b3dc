import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type Account, canDeploy } from '../domain/account.ts';
import { parseAppName } from '../domain/app.ts';
import { type Domain, hostOf, parseDomain } from '../domain/domain.ts';
import { UserError } from '../errors.ts';
import type { DomainStore } from '../store/domain-store.ts';
import { type AppRoutesDeps, appParams, requireApp } from './app-routes.ts';
import { domainShape, domainsShape } from './contract/networks.ts';

export type DomainRoutesDeps = Pick<AppRoutesDeps, 'apps'> & {
  domains: DomainStore;
  /** What every app's own host name ends in. */
  appDomain: string;
};

/** Host names of apps, and paths of some; in force at once. */
export function domainRoutes({ apps, domains, appDomain }: DomainRoutesDeps): FastifyPluginAsyncZod {
  /** The name of an app stays its own, but for paths that it gives away. */
  const isOpen = async (account: Account, domain: Domain): Promise<boolean> => {
    const host = hostOf(domain);
    if (host === appDomain) return false;
    if (!host.endsWith(`.${appDomain}`)) return true;
    const other = parseAppName(host.slice(0, -appDomain.length - 1));
    if (other === undefined || !domain.includes('/') || !canDeploy(account, other)) return false;
    return (await apps.get(other)) !== undefined;
  };

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
        if (!(await isOpen(account, domain)))
          throw new UserError(
            'CONFLICT',
            `names below ${appDomain} are those of apps`,
            'an app has the one of its own name; those who may deploy it can give paths of it to others',
          );
        // Whose it is instead is nobody's business.
        if (!(await domains.add(name, domain, (other) => canDeploy(account, other))))
          throw new UserError(
            'CONFLICT',
            `${domain} is another app's`,
            'remove it there first: gantry domains remove; paths of a host are shared by those who may deploy all its apps',
          );
        return reply.status(201).send({ domain });
      },
    );

    api.delete(
      '/apps/:app/domains/:domain',
      {
        config: { right: 'deploy', action: 'remove domain' },
        schema: { params: appParams.extend({ domain: z.string().max(400) }), response: { 204: z.null() } },
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

function parse(text: string): Domain {
  const domain = parseDomain(text);
  if (typeof domain === 'string') return domain;
  throw new UserError('INVALID', `"${text.slice(0, 100)}": ${domain.problem}`);
}
