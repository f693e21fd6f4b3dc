import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ManagedService, ServiceCopy } from '../domain/managed-service.ts';
import type { Service } from '../domain/service.ts';
import { UserError } from '../errors.ts';
import { begunCopyShape } from './contract/services.ts';
import { receiveArchive } from './receive-archive.ts';
import { refuseCopied, requireService, type ServiceRoutesDeps, serviceParams } from './service-routes.ts';

export type ServiceCopyRoutesDeps = Pick<ServiceRoutesDeps, 'services'> & {
  copies: { folder: string; diskFloorBytes: number };
};

const archiveType = 'application/x-tar';

/** Backups of what services that run here have in their volumes. A worker makes and unpacks them; this passes them on. */
export function serviceCopyRoutes(deps: ServiceCopyRoutesDeps): FastifyPluginAsyncZod {
  const { services, copies } = deps;
  const fileOf = (id: string): string => join(copies.folder, `${id}.tar`);
  const begin = async (
    service: Service,
    { volume }: ManagedService,
    copy: Pick<ServiceCopy, 'id' | 'kind'>,
  ): Promise<void> => {
    if (await services.beginCopy(service, { ...copy, volume, state: 'under way' })) return;
    await rm(fileOf(copy.id), { force: true });
    throw new UserError(
      'CONFLICT',
      `another copy of ${service.name} is under way`,
      'try again when it is over',
    );
  };
  const requireManaged = async (text: string): Promise<{ service: Service; managed: ManagedService }> => {
    const service = await requireService(deps, text);
    const { managed } = service;
    if (!managed)
      throw new UserError('INVALID', `${service.name} does not run here, so its data are not here, either`);
    refuseCopied(service);
    return { service, managed };
  };

  return async (api) => {
    // Read by the handler, as it comes.
    api.addContentTypeParser(archiveType, (_request, _payload, done) => done(null));

    api.post(
      '/services/:service/backups',
      {
        config: { right: 'admin', action: 'back up service' },
        schema: { params: serviceParams, response: { 202: begunCopyShape } },
      },
      async ({ params }, reply) => {
        const { service, managed } = await requireManaged(params.service);
        const id = randomUUID();
        await begin(service, managed, { id, kind: 'backup' });
        return reply.status(202).send({ id });
      },
    );

    api.get(
      '/services/:service/backups/:id',
      {
        config: { right: 'admin' },
        schema: { params: serviceParams.extend({ id: z.uuid() }) },
      },
      async ({ params }, reply) => {
        const { copy } = await requireService(deps, params.service);
        const file = fileOf(params.id);
        const isDone = copy?.id === params.id && copy.kind === 'backup' && copy.state === 'done';
        const found = isDone ? await stat(file).catch(() => undefined) : undefined;
        if (!found)
          throw new UserError('NOT_FOUND', 'there is no such backup, or it was fetched', 'make another one');
        // Whoever has all of it needs it no more. Who leaves right after the last byte is gone before "finish".
        reply.raw.once('close', () => {
          if (reply.raw.writableEnded) void rm(file, { force: true }).catch(() => {});
        });
        return reply.header('content-length', found.size).type(archiveType).send(createReadStream(file));
      },
    );

    api.put(
      '/services/:service/data',
      {
        config: { right: 'admin', action: 'restore service' },
        bodyLimit: Number.MAX_SAFE_INTEGER,
        schema: { params: serviceParams, response: { 202: begunCopyShape } },
      },
      async ({ params, headers, raw }, reply) => {
        const { service, managed } = await requireManaged(params.service);
        if (headers['content-type'] !== archiveType)
          throw new UserError('INVALID', `the archive is to be sent as ${archiveType}`);
        const id = randomUUID();
        await mkdir(copies.folder, { recursive: true, mode: 0o700 });
        await receiveArchive(raw, fileOf(id), copies.diskFloorBytes);
        await begin(service, managed, { id, kind: 'restore' });
        return reply.status(202).send({ id });
      },
    );
  };
}
