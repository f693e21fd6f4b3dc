import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type Account, canDeploy, canRead } from '../domain/account.ts';
import type { App } from '../domain/app.ts';
import { type NetworkPolicy, parsePorts, portsText } from '../domain/network-policy.ts';
import { UserError } from '../errors.ts';
import type { NetworkPolicyStore } from '../store/network-policy-store.ts';
import { type AppRoutesDeps, appParams, requireApp } from './app-routes.ts';
import { networkPoliciesShape, networkPolicyChangeShape, networkPolicyShape } from './contract/networks.ts';
import { pageOf, pageQuery } from './paging.ts';

export type NetworkPolicyRoutesDeps = Pick<AppRoutesDeps, 'apps'> & { policies: NetworkPolicyStore };

/** Which apps may reach which at their internal host names; in force at once. */
export function networkPolicyRoutes({ apps, policies }: NetworkPolicyRoutesDeps): FastifyPluginAsyncZod {
  const requested = async (
    account: Account,
    source: App,
    { destination: text, protocol, ports }: z.infer<typeof networkPolicyChangeShape>,
  ): Promise<{ policy: NetworkPolicy; apps: readonly App[] }> => {
    const range = parsePorts(ports);
    if ('problem' in range) throw new UserError('INVALID', `"${ports}": ${range.problem}`);
    const destination = await requireApp({ apps }, account, text);
    if (!canDeploy(account, destination.name))
      throw new UserError(
        'FORBIDDEN',
        `this token may only read ${destination.name}`,
        `it needs a token with deploy:${destination.name}`,
      );
    if (destination.name === source.name)
      throw new UserError('INVALID', 'a policy is between two apps, and these are the same');
    const policy = { source: source.name, destination: destination.name, protocol, ...range };
    return { policy, apps: [source, destination] };
  };

  return async (api) => {
    api.get(
      '/network-policies',
      {
        config: { right: 'token' },
        schema: { querystring: pageQuery, response: { 200: networkPoliciesShape } },
      },
      async (request, reply) => {
        const { account } = request;
        const visible = (await policies.list()).filter(
          ({ source, destination }) => canRead(account, source) || canRead(account, destination),
        );
        return { policies: pageOf(visible, keyOf, request, reply) };
      },
    );

    api.post(
      '/apps/:app/network-policies',
      {
        config: {
          right: 'deploy',
          action: 'add network policy',
          shown: ['destination', 'protocol', 'ports'],
        },
        schema: {
          params: appParams,
          body: networkPolicyChangeShape,
          response: { 201: networkPolicyShape },
        },
      },
      async ({ account, params, body }, reply) => {
        const source = await requireApp({ apps }, account, params.app);
        const { policy, apps: both } = await requested(account, source, body);
        for (const { name } of both)
          if ((await apps.options(name)).network === 'host')
            throw new UserError(
              'CONFLICT',
              `${name} is in the network of the server, where internal host names are not known`,
              `gantry apps set ${name} --network bridge`,
            );
        await policies.add(policy);
        return reply.status(201).send(policy);
      },
    );

    api.delete(
      '/apps/:app/network-policies/:destination/:protocol/:ports',
      {
        config: { right: 'deploy', action: 'remove network policy' },
        schema: {
          params: appParams.extend({
            destination: networkPolicyChangeShape.shape.destination,
            protocol: networkPolicyShape.shape.protocol,
            ports: z.string().max(11),
          }),
          response: { 204: z.null() },
        },
      },
      async ({ account, params: { app, ...change } }, reply) => {
        const source = await requireApp({ apps }, account, app);
        const { policy } = await requested(account, source, change);
        if (!(await policies.remove(policy)))
          throw new UserError(
            'NOT_FOUND',
            `${policy.source} has no policy for ${policy.destination} with ${policy.protocol} ${portsText(policy)}`,
            'list them: gantry network-policies',
          );
        return reply.status(204).send(null);
      },
    );
  };
}

function keyOf({ source, destination, protocol, port, endPort }: NetworkPolicy): string {
  return [source, destination, protocol, port, endPort].join(' ');
}
