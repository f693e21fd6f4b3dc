import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { everyFile } from '../support/every-file.ts';
import { appRepository, Rig } from '../support/rig.ts';

let rig: Rig;
let admin: string;
beforeAll(async () => {
  rig = await Rig.start();
  admin = await rig.token;
  await using repo = await appRepository('page');
  const push = await repo.push(await rig.pushUrl('shop'));
  if (push.code !== 0) throw new Error(push.stderr);
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

type Asked = { headers?: Record<string, string>; body?: unknown; token?: string };
type Answer = { status: number; headers: Headers; body: string };

async function ask(method: string, path: string, { headers, body, token }: Asked = {}): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${rig.port}/api/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token ?? admin}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status: response.status, headers: response.headers, body: await response.text() };
}

const keyed = (key: string, body: unknown, token?: string): Asked => ({
  headers: { 'idempotency-key': key },
  body,
  ...(token && { token }),
});

async function deployments(): Promise<number> {
  const { body } = await ask('GET', '/apps/shop/deployments?limit=100');
  return (JSON.parse(body) as { deployments: unknown[] }).deployments.length;
}

describe('a POST with an Idempotency-Key', () => {
  const restart = { kind: 'restart' };

  test('50 times at once is one deployment, and afterwards has the same answer', async () => {
    const before = await deployments();
    const key = randomUUID();
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => ask('POST', '/apps/shop/deployments', keyed(key, restart))),
    );
    const accepted = answers.filter(({ status }) => status === 202);
    expect(new Set(accepted.map(({ body }) => body)).size).toBe(1);
    const others = answers.filter(({ status }) => status !== 202);
    expect(
      others.filter(({ status, headers }) => status !== 409 || headers.get('retry-after') !== '1'),
    ).toEqual([]);
    expect(await deployments()).toBe(before + 1);

    const again = await ask('POST', '/apps/shop/deployments', keyed(key, restart));
    expect(again.status).toBe(202);
    expect(again.body).toBe(accepted[0]?.body);
    expect(again.headers.get('location')).toBe(`/api/v1/apps/shop/deployments/${before + 1}`);
    expect(again.headers.get('content-type')).toContain('application/json');
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(await deployments()).toBe(before + 1);
  });

  test('is refused when the key was for something else, of the same token', async () => {
    const key = randomUUID();
    expect((await ask('POST', '/apps', keyed(key, { name: 'one' }))).status).toBe(201);
    const other = await ask('POST', '/apps', keyed(key, { name: 'two' }));
    expect(other.status).toBe(422);
    expect(other.body).toContain('this Idempotency-Key was used for another request');
    expect((await ask('POST', '/apps/one/volumes', keyed(key, { name: 'one', path: '/x' }))).status).toBe(
      422,
    );
    const somebody = await rig.createToken('somebody', ['deploy:two']);
    expect((await ask('POST', '/apps', keyed(key, { name: 'two' }, somebody))).status).toBe(201);
    expect((await ask('POST', '/apps', keyed('two words', { name: 'x' }))).status).toBe(422);
  });

  test('is refused again as it was before, and checked for its right each time', async () => {
    const key = randomUUID();
    const first = await ask('POST', '/apps', keyed(key, { name: 'shop' }));
    expect(first.status).toBe(409);
    const again = await ask('POST', '/apps', keyed(key, { name: 'shop' }));
    expect([again.status, again.body]).toEqual([409, first.body]);
    expect(again.headers.get('content-type')).toContain('application/problem+json');
    const reader = await rig.createToken('reader', ['read:shop']);
    expect((await ask('POST', '/apps/shop/deployments', keyed(key, restart, reader))).status).toBe(403);
  });

  test('gives a token again that was lost on its way', async () => {
    const key = randomUUID();
    const wish = { name: 'lost', scopes: ['read:shop'] };
    const first = await ask('POST', '/tokens', keyed(key, wish));
    expect((await ask('POST', '/tokens', keyed(key, wish))).body).toBe(first.body);
    const { token } = JSON.parse(first.body) as { token: string };
    expect(await everyFile(rig.dataDir)).not.toContain(token);
    const { stdout } = await rig.gantry('tokens', '--json');
    expect((JSON.parse(stdout) as { name: string }[]).filter(({ name }) => name === 'lost')).toHaveLength(1);
  });
});

describe('the variables of an app', () => {
  const change = (tag: string, env: Record<string, string | null>): Promise<Answer> =>
    ask('PATCH', '/apps/shop/env', { headers: { 'if-match': tag }, body: { env } });

  test('are changed only when they are still what was looked at', async () => {
    await ask('PATCH', '/apps/shop/env', { body: { env: { A: '1' } } });
    const tag = (await ask('GET', '/apps/shop/env')).headers.get('etag') ?? '';
    expect(tag).toMatch(/^"\d+"$/);
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => change(tag, { [`B${i}`]: 'x' })));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    const refused = answers.filter(({ status }) => status === 412);
    expect(refused).toHaveLength(19);
    expect(JSON.parse(refused[0]?.body ?? '')).toMatchObject({ code: 'PRECONDITION_FAILED' });
    const after = await ask('GET', '/apps/shop/env');
    const { env } = JSON.parse(after.body) as { env: Record<string, string> };
    expect(Object.keys(env).filter((name) => name.startsWith('B'))).toHaveLength(1);

    const now = answers.find(({ status }) => status === 200)?.headers.get('etag') ?? '';
    expect(after.headers.get('etag')).toBe(now);
    expect((await change(`"0", ${now}`, { A: null })).status).toBe(200);
    expect((await change('*', { A: '2' })).status).toBe(200);
    expect((await change('nonsense', { A: '3' })).status).toBe(412);
  });
});

test('lists come in pages', async () => {
  for (let i = 0; i < 7; i++) await ask('POST', '/apps', { body: { name: `list-${i}` } });
  const names: string[] = [];
  let path = '/apps?limit=3';
  while (path) {
    const page = await ask('GET', path);
    const { apps } = JSON.parse(page.body) as { apps: { name: string }[] };
    expect(apps.length).toBeLessThanOrEqual(3);
    names.push(...apps.map(({ name }) => name));
    path = /^<\/api\/v1([^>]+)>; rel="next"$/.exec(page.headers.get('link') ?? '')?.[1] ?? '';
  }
  expect(names.filter((name) => name.startsWith('list-'))).toHaveLength(7);
  expect(names).toEqual([...new Set(names)].toSorted());

  const newest = await ask('GET', '/apps/shop/deployments?limit=1');
  expect(newest.headers.get('link')).toBe('</api/v1/apps/shop/deployments?limit=1&after=2>; rel="next"');
  expect((await ask('GET', '/apps/shop/deployments?limit=1&after=2')).body).toContain('"number":1,');
  expect((await ask('GET', '/apps/shop/deployments?limit=1&after=1')).headers.get('link')).toBeNull();
  for (const wrong of ['limit=0', 'limit=101', 'limit=x', 'limit=1e9'])
    expect((await ask('GET', `/apps?${wrong}`)).status).toBe(400);
});

describe('every answer', () => {
  test('has the id of its request, the one that was sent if it is one', async () => {
    const own = await ask('GET', '/whoami', { headers: { 'x-request-id': 'ci-4711' } });
    expect(own.headers.get('x-request-id')).toBe('ci-4711');
    for (const odd of ['a b', 'x'.repeat(101), '<script>'])
      expect(
        (await ask('GET', '/whoami', { headers: { 'x-request-id': odd } })).headers.get('x-request-id'),
      ).toMatch(/^[\da-f-]{36}$/);
    const log = await ask('GET', '/apps/shop/deployments/1/logs', { headers: { 'x-request-id': 'log-1' } });
    expect(log.headers.get('x-request-id')).toBe('log-1');
    expect(log.headers.get('content-type')).toBe('application/x-ndjson');
  });

  test('that is a refusal says what, why, and what to do', async () => {
    const answer = await ask('GET', '/apps/nothing/env?secret=1', { headers: { 'x-request-id': 'r-1' } });
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(JSON.parse(answer.body)).toEqual({
      title: 'not found',
      status: 404,
      detail: 'app "nothing" not found or not yours',
      code: 'NOT_FOUND',
      hint: 'list them: gantry apps',
      instance: '/api/v1/apps/nothing/env',
      requestId: 'r-1',
    });
    expect(JSON.parse((await ask('GET', '/nowhere')).body)).toMatchObject({ code: 'NOT_FOUND', status: 404 });
  });
});
