import { createServer } from 'node:http';
import fastify from 'fastify';
import { describe, expect, test } from 'vitest';
import { type ApiDeps, createApi } from '../../src/api/api.ts';
import { demandRights } from '../../src/api/rights.ts';
import { operationsOf } from '../support/openapi.ts';

describe('the description of the API', () => {
  test('has every route with its right, and what it takes and gives', async () => {
    // Handlers are not called here.
    const deps: Partial<ApiDeps> = {
      serverFactory: (handler) => createServer(handler),
      onRevoked: () => () => {},
      version: '1',
    };
    const api = await createApi(deps as ApiDeps);
    const document = (await api.inject('/api/openapi.json')).json<Parameters<typeof operationsOf>[0]>();
    const operations = operationsOf(document);
    expect(document).toMatchObject({ openapi: '3.1.0', info: { title: 'Gantry' } });
    expect(operations.length).toBeGreaterThan(25);
    expect(operations.filter(({ right }) => right === 'public').map(({ path }) => path)).toEqual(
      expect.arrayContaining(['/healthz', '/api/openapi.json']),
    );
    expect(
      operations.find(({ method, path }) => `${method} ${path}` === 'POST /api/v1/tokens'),
    ).toMatchObject({
      right: 'admin',
      body: { required: ['name', 'scopes'] },
    });
    // Webhooks prove who they are by their signature.
    const changes = operations.filter(
      ({ method, path }) => method !== 'GET' && !path.startsWith('/webhooks/'),
    );
    expect(changes.filter(({ right }) => !['deploy', 'create', 'admin'].includes(right))).toEqual([]);
    expect(JSON.stringify(document)).toContain('Needs a token with `deploy` for the app, or `admin`.');
    await api.close();
  });
});

describe('a route', () => {
  const build = async (url: string, config: object): Promise<void> => {
    const api = fastify();
    demandRights(api);
    api.get(url, { config }, () => 'ok');
    await api.ready();
  };

  test('without a right does not come into being', async () => {
    await expect(build('/secret', {})).rejects.toThrow('GET /secret declares no right');
    await expect(build('/fine', { right: 'admin' })).resolves.toBeUndefined();
  });

  test('with a right about an app has the app in its address', async () => {
    await expect(build('/apps/:name/x', { right: 'deploy' })).rejects.toThrow('there is none');
    await expect(build('/apps/:app/x', { right: 'deploy' })).resolves.toBeUndefined();
  });
});
