import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type Account, canRead, isAdmin } from '../domain/account.ts';
import { parseAppName } from '../domain/app.ts';
import {
  type Credentials,
  parseServiceName,
  problemWithCredentials,
  type Service,
  serviceNameRule,
} from '../domain/service.ts';
import { UserError } from '../errors.ts';
import type { ServiceStore } from '../store/service-store.ts';
import { type AppRoutesDeps, appParams, requireApp } from './app-routes.ts';
import {
  type bindingShape,
  bindingsShape,
  newServiceShape,
  serviceChangeShape,
  serviceDetailShape,
  serviceShape,
  servicesShape,
} from './contract/services.ts';
import { pageOf, pageQuery } from './paging.ts';
import { changeManaged, planService } from './plan-service.ts';

export type ServiceRoutesDeps = Pick<AppRoutesDeps, 'apps'> & { services: ServiceStore };

export const serviceParams = z.object({ service: z.string() });

/**
 * A service is of no app: administrators make it and see its credentials. Who may deploy an app may bind those to it that
 * are shared, and unbind all of it: its containers could tell the credentials anyway.
 */
export function serviceRoutes(deps: ServiceRoutesDeps): FastifyPluginAsyncZod {
  const { services } = deps;
  const require = (text: string): Promise<Service> => requireService(deps, text);
  const describe = async (account: Account, service: Service): Promise<z.infer<typeof serviceShape>> => {
    const apps = (await services.bindings(service.name)).map(({ app }) => app);
    return {
      name: service.name,
      id: service.id,
      label: service.label,
      state: service.status.state,
      reason: service.status.reason ?? null,
      managed: service.managed
        ? {
            image: service.managed.image,
            port: service.managed.port,
            path: service.managed.path,
            memory: service.managed.memoryBytes ?? null,
          }
        : null,
      tags: [...service.tags],
      shared: service.isShared,
      apps: apps.filter((text) => {
        const app = parseAppName(text);
        return app !== undefined && canRead(account, app);
      }),
      createdAt: service.createdAt.toISOString(),
      createdBy: service.by,
    };
  };
  const detail = async (
    account: Account,
    service: Service,
    isOpen: boolean,
  ): Promise<z.infer<typeof serviceDetailShape>> => {
    const credentials = await services.credentials(service);
    return {
      ...(await describe(account, service)),
      copy: service.copy
        ? {
            id: service.copy.id,
            kind: service.copy.kind,
            state: service.copy.state,
            reason: service.copy.reason ?? null,
          }
        : null,
      credentialNames: Object.keys(credentials),
      credentials: isOpen ? { ...credentials } : null,
    };
  };
  const bindingsOf = async (text: string, account: Account): Promise<z.infer<typeof bindingsShape>> => {
    const app = await requireApp(deps, account, text);
    const bound = await services.ofApp(app.name);
    return {
      services: bound.map(
        ({ service, binding }): z.infer<typeof bindingShape> => ({
          service: service.name,
          label: service.label,
          boundAt: binding.at.toISOString(),
          boundBy: binding.by,
        }),
      ),
    };
  };

  return async (api) => {
    api.get(
      '/services',
      { config: { right: 'token' }, schema: { querystring: pageQuery, response: { 200: servicesShape } } },
      async (request, reply) => {
        const { account } = request;
        const all = await Promise.all((await services.list()).map((service) => describe(account, service)));
        const visible = all.filter(({ shared, apps }) => isAdmin(account) || shared || apps.length > 0);
        return { services: pageOf(visible, ({ name }) => name, request, reply) };
      },
    );

    api.post(
      '/services',
      {
        config: { right: 'admin', action: 'create service', shown: ['name', 'template', 'image', 'tags'] },
        schema: { body: newServiceShape, response: { 201: serviceShape } },
      },
      async ({ account, body }, reply) => {
        const name = parseServiceName(body.name);
        if (!name)
          throw new UserError('INVALID', `"${body.name.slice(0, 50)}" cannot be a service`, serviceNameRule);
        const wanted = planService(name, body);
        refuseBad(wanted.credentials);
        const { tags, shared: isShared } = body;
        const made = await services.create({ ...wanted, name, tags, isShared, by: account.name });
        if (!made) throw new UserError('CONFLICT', `the service ${name} exists already`);
        return reply
          .status(201)
          .header('location', `/api/v1/services/${name}`)
          .send(await describe(account, await require(name)));
      },
    );

    api.get(
      '/services/:service',
      {
        config: { right: 'admin' },
        schema: {
          params: serviceParams,
          querystring: z.object({ credentials: z.enum(['true', 'false']).default('false') }),
          response: { 200: serviceDetailShape },
        },
      },
      async ({ account, params, query }) =>
        detail(account, await require(params.service), query.credentials === 'true'),
    );

    api.patch(
      '/services/:service',
      {
        config: { right: 'admin', action: 'change service', shown: ['image', 'tags'] },
        schema: { params: serviceParams, body: serviceChangeShape, response: { 200: serviceDetailShape } },
      },
      async ({ account, params, body }) => {
        const service = await require(params.service);
        const { credentials, tags, shared } = body;
        if (credentials) refuseBad(credentials);
        if (credentials && service.managed)
          throw new UserError(
            'INVALID',
            `the credentials of ${service.name} were made with its data and cannot change`,
          );
        refuseCopied(service);
        const change = { credentials, tags, isShared: shared, managed: changeManaged(service, body) };
        if (!(await services.change(service, change))) throw serviceNotFound(params.service);
        return detail(account, await require(params.service), false);
      },
    );

    api.delete(
      '/services/:service',
      {
        config: { right: 'admin', action: 'delete service' },
        schema: {
          params: serviceParams,
          querystring: z.object({ deleteData: z.enum(['true', 'false']).default('false') }),
          response: { 204: z.null() },
        },
      },
      async ({ account, params, query }, reply) => {
        const service = await require(params.service);
        refuseCopied(service);
        if (service.managed && query.deleteData === 'false')
          throw new UserError(
            'CONFLICT',
            `the data of ${service.name} go with it`,
            `to say that you mean it: gantry services delete ${service.name} --delete-data`,
          );
        if ((await services.remove(service)) === 'bound') {
          const { apps } = await describe(account, service);
          throw new UserError(
            'CONFLICT',
            `the service ${service.name} is bound to ${apps.join(', ')}`,
            `take it from them first: gantry unbind APP ${service.name}`,
          );
        }
        return reply.status(204).send(null);
      },
    );

    api.get(
      '/apps/:app/services',
      { config: { right: 'read' }, schema: { params: appParams, response: { 200: bindingsShape } } },
      async ({ account, params }) => bindingsOf(params.app, account),
    );

    api.put(
      '/apps/:app/services/:service',
      {
        config: { right: 'deploy', action: 'bind service' },
        schema: { params: appParams.extend(serviceParams.shape), response: { 200: bindingsShape } },
      },
      async ({ account, params }) => {
        const app = await requireApp(deps, account, params.app);
        const service = await require(params.service);
        // One that is not shared is as good as none to others.
        if (!service.isShared && !isAdmin(account)) throw serviceNotFound(params.service);
        if (!(await services.bind(service, app.name, account.name))) throw serviceNotFound(params.service);
        return bindingsOf(params.app, account);
      },
    );

    api.delete(
      '/apps/:app/services/:service',
      {
        config: { right: 'deploy', action: 'unbind service' },
        schema: { params: appParams.extend(serviceParams.shape), response: { 200: bindingsShape } },
      },
      async ({ account, params }) => {
        const app = await requireApp(deps, account, params.app);
        const name = parseServiceName(params.service);
        if (!name || !(await services.unbind(name, app.name)))
          throw new UserError(
            'NOT_FOUND',
            `${app.name} has no service "${params.service.slice(0, 50)}"`,
            `list them: gantry services list --app ${app.name}`,
          );
        return bindingsOf(params.app, account);
      },
    );
  };
}

export async function requireService(
  { services }: Pick<ServiceRoutesDeps, 'services'>,
  text: string,
): Promise<Service> {
  const name = parseServiceName(text);
  const service = name && (await services.get(name));
  if (!service) throw serviceNotFound(text);
  return service;
}

/** What is copied just now stays as it is until that is over. */
export function refuseCopied({ name, copy }: Service): void {
  if (copy?.state === 'under way')
    throw new UserError('CONFLICT', `a ${copy.kind} of ${name} is under way`, 'try again when it is over');
}

function refuseBad(credentials: Credentials): void {
  const problem = problemWithCredentials(credentials);
  if (problem) throw new UserError('INVALID', problem);
}

function serviceNotFound(text: string): UserError {
  return new UserError(
    'NOT_FOUND',
    `there is no service "${text.slice(0, 50)}", or it is not shared`,
    'list them: gantry services',
  );
}
