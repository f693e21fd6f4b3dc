import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform } from 'fastify-type-provider-zod';
import { problemShape, problemType } from './contract/server.ts';
import { rights } from './rights.ts';

/** Describes every route that is registered after it, from the shapes that also check what goes in and out. */
export async function describeApi(api: FastifyInstance, version: string): Promise<void> {
  await api.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Gantry',
        version,
        description: 'Errors are problem+json (RFC 9457) with a stable `code` and, mostly, a `hint`.',
      },
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer' },
          basic: { type: 'http', scheme: 'basic', description: 'The token is the password; any user name.' },
        },
      },
    },
    transform: ({ schema, url, route, ...rest }) => {
      const right = route.config?.right ?? 'admin';
      const problem = {
        description: 'refused or failed',
        content: { [problemType]: { schema: problemShape } },
      };
      const documented = {
        ...schema,
        response: { ...(schema?.response as object | undefined), '4XX': problem, '5XX': problem },
      };
      const transformed = jsonSchemaTransform({ schema: documented, url, route, ...rest });
      return {
        url: transformed.url,
        schema: {
          ...transformed.schema,
          description: `Needs ${rights[right]}.`,
          security: right === 'public' ? [] : ['bearer', 'basic'].map((way) => ({ [way]: [] })),
          'x-gantry-right': right,
        },
      };
    },
  });
  api.get('/api/openapi.json', { config: { right: 'public' } }, () => api.swagger());
}
