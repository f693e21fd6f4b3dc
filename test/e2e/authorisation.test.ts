import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Scope } from '../../src/domain/account.ts';
import { TokenStore } from '../../src/store/token-store.ts';
import { type ApiOperation, operationsOf, sampleOf } from '../support/openapi.ts';
import { Rig, until } from '../support/rig.ts';

let rig: Rig;
let redis: Redis;
let operations: ApiOperation[];
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_TRUSTED_PROXIES: '127.0.0.1/32' });
  redis = new Redis({ path: join(rig.dataDir, 'redis/redis.sock') });
  const document = await fetch(`http://127.0.0.1:${rig.port}/api/openapi.json`);
  operations = operationsOf((await document.json()) as Parameters<typeof operationsOf>[0]);
});
afterAll(async () => {
  redis.disconnect();
  await rig[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

type Answer = 'allowed' | 401 | 403 | 404;

/** What each kind of token gets for each right; the app in the address and in the body is "mine". */
const expected: Record<string, Record<string, Answer>> = {
  token: {
    strangers: 401,
    'read:other': 'allowed',
    'read:mine': 'allowed',
    'deploy:other': 'allowed',
    'deploy:mine': 'allowed',
    admin: 'allowed',
  },
  create: {
    strangers: 401,
    'read:other': 403,
    'read:mine': 403,
    'deploy:other': 403,
    'deploy:mine': 'allowed',
    admin: 'allowed',
  },
  read: {
    strangers: 401,
    'read:other': 404,
    'read:mine': 'allowed',
    'deploy:other': 404,
    'deploy:mine': 'allowed',
    admin: 'allowed',
  },
  deploy: {
    strangers: 401,
    'read:other': 404,
    'read:mine': 403,
    'deploy:other': 404,
    'deploy:mine': 'allowed',
    admin: 'allowed',
  },
  admin: {
    strangers: 401,
    'read:other': 403,
    'read:mine': 403,
    'deploy:other': 403,
    'deploy:mine': 403,
    admin: 'allowed',
  },
};

async function make(scopes: readonly Scope[], expiresAt?: Date): Promise<{ id: string; secret: string }> {
  const made = await new TokenStore(redis).create({ name: 'test', scopes, createdBy: 'test', expiresAt });
  return { id: made.token.tokenId, secret: made.secret };
}

/** Each a new one: the same wrong token many times would be slowed down. */
const strangers: Record<string, () => Promise<string | undefined>> = {
  'no token': async () => undefined,
  'a wrong token': async () => `gantry_${randomBytes(32).toString('base64url')}`,
  'an expired token': async () => (await make(['admin'], new Date(Date.now() - 1))).secret,
  'a revoked token': async () => {
    const { id, secret } = await make(['admin']);
    await new TokenStore(redis).revoke(id);
    return secret;
  },
};
const holders = ['read:other', 'read:mine', 'deploy:other', 'deploy:mine', 'admin'] as const;

async function ask({ method, path, body }: ApiOperation, token: string | undefined): Promise<Answer> {
  const url = path.replace('{app}', 'mine').replaceAll(/\{\w+\}/g, '999');
  const response = await fetch(`http://127.0.0.1:${rig.port}${url}`, {
    method,
    headers: {
      // Wrong tokens of one address would be slowed down as well.
      'x-forwarded-for': `2a00:${randomBytes(2).toString('hex')}:${randomBytes(2).toString('hex')}:1::1`,
      ...(token && { authorization: `Bearer ${token}` }),
      ...(body && { 'content-type': 'application/json' }),
    },
    ...(body && { body: JSON.stringify(sampleOf(body, 'mine')) }),
  });
  if (response.ok) {
    // It may be a stream that does not end.
    await response.body?.cancel();
    return 'allowed';
  }
  const { code, detail } = (await response.json()) as { code: string; detail: string };
  if (response.status === 401 && code === 'UNAUTHENTICATED') return 401;
  if (response.status === 403 && code === 'FORBIDDEN') return 403;
  if (response.status === 404 && detail === 'app "mine" not found or not yours') return 404;
  if ([401, 403, 429, 500].includes(response.status)) throw new Error(`${response.status}: ${detail}`);
  // Let in, but there was nothing to do it with.
  return 'allowed';
}

/** An earlier route may have deleted it, which goes on for a moment after its answer. */
async function makeSureOf(app: string): Promise<void> {
  await until(`there is the app ${app}`, async () => {
    await rig.api('POST', '/apps', { name: app });
    const { status, body } = await rig.api('GET', `/apps/${app}`);
    return status === 200 && (JSON.parse(body) as { state: string }).state !== 'deleting';
  });
}

describe('of the routes in the OpenAPI file', () => {
  test.each(Object.keys(strangers))('none lets %s in', async (kind) => {
    await rig.setEnv('mine', {});
    const wrong: string[] = [];
    for (const operation of operations.filter(({ right }) => right !== 'public')) {
      const answer = await ask(operation, await strangers[kind]?.());
      if (answer !== 401) wrong.push(`${operation.method} ${operation.path}: ${answer}`);
    }
    expect(wrong).toEqual([]);
    expect(operations.length).toBeGreaterThan(25);
  });

  test.each(holders)('each lets a token with %s in as far as its right goes', async (scope) => {
    const wrong: string[] = [];
    for (const operation of operations.filter(({ right }) => right !== 'public')) {
      await makeSureOf('mine');
      const answer = await ask(operation, (await make([scope])).secret);
      const right = expected[operation.right]?.[scope];
      if (answer !== right)
        wrong.push(`${operation.method} ${operation.path} (${operation.right}): ${answer}, not ${right}`);
    }
    expect(wrong).toEqual([]);
  });

  test('the public ones do not look at tokens', async () => {
    const statusOf = async (path: string, token: string): Promise<number> => {
      const headers = { authorization: `Bearer ${token}` };
      const response = await fetch(`http://127.0.0.1:${rig.port}${path}`, { headers });
      await response.body?.cancel();
      return response.status;
    };
    const readable = operations.filter(({ right, method }) => right === 'public' && method === 'GET');
    for (const { path } of readable)
      expect(await statusOf(path, 'wrong')).toBe(await statusOf(path, await rig.token));
    expect(readable.map(({ path }) => path)).toContain('/healthz');
  });

  test('an administrator alone gives an app more than its container', async () => {
    const { secret } = await make(['deploy:mine']);
    const change = async (body: object, token: string): Promise<number> =>
      (
        await fetch(`http://127.0.0.1:${rig.port}/api/v1/apps/mine/options`, {
          method: 'PATCH',
          headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        })
      ).status;
    expect(await change({ instances: 2 }, secret)).toBe(200);
    expect(await change({ network: 'host' }, secret)).toBe(403);
    expect(await change({ dockerSocket: true }, secret)).toBe(403);
    expect(await change({ dockerSocket: true }, await rig.token)).toBe(200);
  });
});
