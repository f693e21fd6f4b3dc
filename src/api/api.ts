import { randomUUID } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import type { Authenticate } from '../access/authenticator.ts';
import type { Account } from '../domain/account.ts';
import type { RecordAudit } from '../domain/audit.ts';
import { parseCredentials } from '../domain/credentials.ts';
import { isRedisTrouble, messageOf, UserError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { AnswerStore } from '../store/answer-store.ts';
import { type AppLogRoutesDeps, appLogRoutes } from './app-log-routes.ts';
import { type AppRoutesDeps, appRoutes } from './app-routes.ts';
import { type AuditRoutesDeps, auditChanges, auditRoutes } from './audit-routes.ts';
import { connectionRoutes } from './connection-routes.ts';
import { type problemShape, problemType } from './contract/server.ts';
import { type DeploymentRoutesDeps, deploymentRoutes } from './deployment-routes.ts';
import { type DomainRoutesDeps, domainRoutes } from './domain-routes.ts';
import { type HealthRoutesDeps, healthRoutes, probeRoutes } from './health-routes.ts';
import { carryOutOnce } from './idempotency.ts';
import { type InstanceRoutesDeps, instanceRoutes } from './instance-routes.ts';
import { type LifecycleRoutesDeps, lifecycleRoutes } from './lifecycle-routes.ts';
import { type NetworkPolicyRoutesDeps, networkPolicyRoutes } from './network-policy-routes.ts';
import { endWithToken } from './open-answers.ts';
import { describeApi } from './openapi.ts';
import { optionRoutes } from './option-routes.ts';
import { type OutgoingRoutesDeps, outgoingRoutes } from './outgoing-routes.ts';
import { type ReleaseRoutesDeps, releaseRoutes } from './release-routes.ts';
import { authorise, demandRights } from './rights.ts';
import { type ServiceCopyRoutesDeps, serviceCopyRoutes } from './service-copy-routes.ts';
import { type ServiceRoutesDeps, serviceRoutes } from './service-routes.ts';
import { type TaskRoutesDeps, taskRoutes } from './task-routes.ts';
import { type TcpRoutesDeps, tcpRoutes } from './tcp-routes.ts';
import { type TokenRoutesDeps, tokenRoutes } from './token-routes.ts';
import { type VolumeRoutesDeps, volumeRoutes } from './volume-routes.ts';
import { deliveryRoutes, type WebhookRoutesDeps, webhookRoutes } from './webhook-routes.ts';

export type ApiDeps = AppRoutesDeps &
  AppLogRoutesDeps &
  AuditRoutesDeps &
  DeploymentRoutesDeps &
  DomainRoutesDeps &
  NetworkPolicyRoutesDeps &
  HealthRoutesDeps &
  InstanceRoutesDeps &
  LifecycleRoutesDeps &
  OutgoingRoutesDeps &
  ReleaseRoutesDeps &
  ServiceRoutesDeps &
  ServiceCopyRoutesDeps &
  TaskRoutesDeps &
  TcpRoutesDeps &
  TokenRoutesDeps &
  VolumeRoutesDeps &
  WebhookRoutesDeps & {
    authenticate: Authenticate;
    recordAudit: RecordAudit;
    /** Calls it when a token was taken back; returns what ends that. */
    onRevoked: (look: () => void) => () => void;
    answers: AnswerStore;
    /** Why Redis did not do what was asked for, when it is its own trouble. */
    storeRefusal: (error: unknown) => { reason: string; fix: string } | undefined;
    /** Where a request comes from. */
    addressOf: (request: IncomingMessage) => string;
    /** Makes the one http.Server; git requests are answered before they get here. */
    serverFactory: (handler: (req: IncomingMessage, res: ServerResponse) => void) => Server;
    logger: Logger;
  };

/** JSON over HTTP for the command line and for scripts. Every route says what right it needs. */
export async function createApi(deps: ApiDeps): Promise<FastifyInstance> {
  const api = fastify({
    serverFactory: deps.serverFactory,
    logger: false,
    forceCloseConnections: true,
    bodyLimit: 8 * 1024 ** 2,
    // A domain in an address.
    routerOptions: { maxParamLength: 600 },
    genReqId: ({ headers }) => {
      const given = String(headers['x-request-id'] ?? '');
      return /^[\w.:-]{1,100}$/.test(given) ? given : randomUUID();
    },
  }).withTypeProvider<ZodTypeProvider>();
  api.setValidatorCompiler(validatorCompiler);
  api.setSerializerCompiler(serializerCompiler);
  api.addHook('onRequest', async ({ id }, reply) => {
    void reply.header('x-request-id', id);
  });
  api.addHook('onResponse', async (request, reply) => {
    const { id, method, account, routeOptions } = request;
    deps.logger.debug(
      {
        request_id: id,
        method,
        // Addresses have secrets in them at times; those of ours have not.
        route: routeOptions.url,
        by: account?.name,
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
      },
      'request',
    );
  });
  api.setErrorHandler((error, request, reply) => sendProblem(deps, error, request, reply));
  api.setNotFoundHandler((request, reply) =>
    sendProblem(deps, new UserError('NOT_FOUND', 'there is nothing at this address'), request, reply),
  );

  api.decorateRequest('problem');
  demandRights(api as unknown as FastifyInstance);
  await describeApi(api as unknown as FastifyInstance, deps.version);

  await api.register(probeRoutes(deps));
  await api.register(async (inner) => {
    inner.decorateRequest('account');
    carryOutOnce(inner as unknown as FastifyInstance, deps.answers);
    auditChanges(inner as unknown as FastifyInstance, deps.recordAudit, deps.addressOf);
    inner.addHook('onRequest', async (request) => {
      if (request.routeOptions.config.right === 'public') return;
      request.account = await authenticate(request, deps);
      authorise(request);
    });
    endWithToken(inner as unknown as FastifyInstance, () => deps.tokens.working(), deps.onRevoked);
    await inner.register(appRoutes(deps), { prefix: '/api/v1' });
    await inner.register(appLogRoutes(deps), { prefix: '/api/v1' });
    await inner.register(instanceRoutes(deps), { prefix: '/api/v1' });
    await inner.register(lifecycleRoutes(deps), { prefix: '/api/v1' });
    await inner.register(optionRoutes(deps), { prefix: '/api/v1' });
    await inner.register(volumeRoutes(deps), { prefix: '/api/v1' });
    await inner.register(taskRoutes(deps), { prefix: '/api/v1' });
    await inner.register(tcpRoutes(deps), { prefix: '/api/v1' });
    await inner.register(deploymentRoutes(deps), { prefix: '/api/v1' });
    await inner.register(tokenRoutes(deps), { prefix: '/api/v1' });
    await inner.register(auditRoutes(deps), { prefix: '/api/v1' });
    await inner.register(releaseRoutes(deps), { prefix: '/api/v1' });
    await inner.register(webhookRoutes(deps), { prefix: '/api/v1' });
    await inner.register(outgoingRoutes(deps, 'app'), { prefix: '/api/v1' });
    await inner.register(outgoingRoutes(deps, 'all'), { prefix: '/api/v1' });
    await inner.register(connectionRoutes(), { prefix: '/api/v1' });
    await inner.register(domainRoutes(deps), { prefix: '/api/v1' });
    await inner.register(networkPolicyRoutes(deps), { prefix: '/api/v1' });
    await inner.register(serviceRoutes(deps), { prefix: '/api/v1' });
    await inner.register(serviceCopyRoutes(deps), { prefix: '/api/v1' });
    await inner.register(deliveryRoutes(deps));
    await inner.register(healthRoutes(deps));
  });
  return api as unknown as FastifyInstance;
}

async function authenticate(
  { headers, raw }: FastifyRequest,
  deps: Pick<ApiDeps, 'authenticate' | 'addressOf'>,
): Promise<Account> {
  const header = headers.authorization ?? '';
  const secret = /^bearer +(\S{1,200})$/i.exec(header)?.[1] ?? parseCredentials(header)?.password;
  const answer = await deps.authenticate(secret, deps.addressOf(raw));
  if (!('refused' in answer)) return answer;
  const code = answer.status === 429 ? 'TOO_MANY_ATTEMPTS' : 'UNAUTHENTICATED';
  throw new UserError(code, answer.refused, answer.hint, answer.retryAfter);
}

function sendProblem(
  { logger, storeRefusal }: Pick<ApiDeps, 'logger' | 'storeRefusal'>,
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const problem = {
    ...toProblem(error, storeRefusal(error)),
    instance: request.url.split('?')[0] ?? '',
    requestId: request.id,
  };
  request.problem = problem.code;
  if (problem.status >= 500) logger.error({ err: error, request_id: request.id }, 'request failed');
  if (problem.status === 401) void reply.header('www-authenticate', 'Bearer');
  if (error instanceof UserError && error.retryAfter !== undefined)
    void reply.header('retry-after', error.retryAfter);
  void reply.status(problem.status).type(problemType).send(JSON.stringify(problem));
}

function toProblem(
  error: unknown,
  refusal: ReturnType<ApiDeps['storeRefusal']>,
): Omit<z.infer<typeof problemShape>, 'instance' | 'requestId'> {
  if (error instanceof UserError) {
    const { title, status, message, code, hint } = error;
    return { title, status, detail: message, code, ...(hint !== undefined && { hint }) };
  }
  const status = (error as { statusCode?: number }).statusCode ?? 500;
  if (status < 500)
    return { title: 'the request is not valid', status, detail: messageOf(error), code: 'INVALID' };
  if (refusal || isRedisTrouble(error)) {
    return {
      title: 'the store is unavailable',
      status: 503,
      detail: `${refusal?.reason ?? 'Redis does not answer'}; running apps are not affected`,
      code: 'QUEUE_UNAVAILABLE',
      ...(refusal && { hint: refusal.fix }),
    };
  }
  return {
    title: 'internal error',
    status: 500,
    detail: 'the log of the server says more',
    code: 'INTERNAL',
  };
}
