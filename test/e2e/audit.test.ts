import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { appRepository, Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

type Entry = Record<
  'by' | 'tokenId' | 'address' | 'app' | 'action' | 'what' | 'result' | 'at' | 'id',
  string
>;

async function entries(...options: string[]): Promise<Entry[]> {
  const { stdout } = await rig.gantry('audit', '--json', '--limit', '1000', ...options);
  return JSON.parse(stdout) as Entry[];
}

const brief = ({ by, action, what, result }: Entry): string => `${by}: ${action} [${what}] ${result}`;
const canary = 'canary-7d20';

test('says who did what to an app, from the API, the command line and git, and never a secret', async () => {
  const pusher = await rig.createToken('pusher', ['deploy:shop']);
  const reader = await rig.createToken('reader', ['read:shop']);
  const url = (token: string): string => `http://x:${token}@127.0.0.1:${rig.port}/shop.git`;
  const asReader = (method: string, path: string, body: unknown): Promise<Response> =>
    fetch(`http://127.0.0.1:${rig.port}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${reader}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  await using repo = await appRepository('page');
  expect((await repo.push(url(pusher))).stderr).toContain('shop v1 is live');
  await repo.push(url(reader));
  await repo.push(url(pusher), 'main:elsewhere');
  await rig.gantry('env', 'set', `TOKEN=${canary}-value`, `PLAIN=${canary}`, '--app', 'shop');
  await rig.gantry('env', 'unset', 'PLAIN', '--app', 'shop');
  await rig.api('PATCH', '/apps/shop/env', { env: { [`NAME=${canary}`]: 'x' } });
  await rig.api('PATCH', '/apps/shop/env', { [`${canary}`]: canary });
  await asReader('PATCH', '/apps/shop/env', { env: { TOKEN: canary } });
  await rig.gantry('run', '--app', 'shop', '--detach', '--', 'echo', canary);
  await rig.gantry('scale', '--app', 'shop', '--instances', '2', '--memory', '64M');
  await rig.gantry('restart', '--app', 'shop');
  await rig.gantry('deploys', 'cancel', '2', '--app', 'shop');

  const found = (await entries('--app', 'shop')).toReversed();
  expect(found.map(brief)).toEqual([
    'pusher: create app [] ok',
    expect.stringMatching(/^pusher: push \[main \w{7} -> 1\] ok$/),
    'reader: push [] FORBIDDEN',
    'pusher: push [refs/heads/elsewhere] not the deploy branch',
    'admin: change env [TOKEN PLAIN] ok',
    'admin: change env [-PLAIN] ok',
    'admin: change env [(no name)] INVALID',
    'admin: change env [(no name)] INVALID',
    'reader: change env [] FORBIDDEN',
    'admin: run task [command -> 1] ok',
    'admin: change options [memory=67108864 instances=2] ok',
    'admin: deploy [kind=restart noCache=false -> 2] ok',
    'admin: cancel deployment [number=2] ok',
  ]);
  expect(found.every(({ address, tokenId }) => address === '127.0.0.1' && tokenId.length === 12)).toBe(true);
  expect(Date.now() - Date.parse(found.at(-1)?.at ?? '')).toBeLessThan(60_000);
  expect(JSON.stringify(await entries())).not.toContain(canary);
  const table = await rig.gantry('audit', '--limit', '1');
  expect(table.stdout).toMatch(
    /^WHEN +WHO .*\n\S+ +admin +127\.0\.0\.1 +shop +cancel deployment +number=2 +ok\n$/,
  );
});

test('tells of tokens, and neither a token nor a wrong one is in it', async () => {
  const made = await rig.gantry(
    'tokens',
    'create',
    'ci',
    '--scope',
    'deploy:shop',
    '--expires',
    '2090-01-01',
  );
  const id = /this is (\w+)/.exec(made.stderr)?.[1] ?? '';
  await rig.gantry('tokens', 'revoke', id);
  await fetch(`http://127.0.0.1:${rig.port}/api/v1/apps`, {
    method: 'POST',
    headers: { authorization: `Bearer ${canary}` },
  });
  const all = await entries();
  expect(all.slice(0, 2).map(brief)).toEqual([
    `admin: revoke token [id=${id}] ok`,
    `admin: create token [name=ci scopes=deploy:shop expires=2090-01-01 -> ${id}] ok`,
  ]);
  expect(brief(all.at(-1)!)).toMatch(/^the server: create token \[name=admin scopes=admin -> \w{12}\] ok$/);
  expect(JSON.stringify(all)).not.toContain(made.stdout.trim());
  expect(JSON.stringify(all)).not.toContain(canary);
});

test('comes in pages, to administrators only', async () => {
  for (let i = 0; i < 12; i++) await rig.api('POST', '/apps', { name: `page-${i}` });
  const all = await entries();
  const ids: string[] = [];
  let path = '/api/v1/audit?limit=5';
  while (path) {
    const response = await fetch(`http://127.0.0.1:${rig.port}${path}`, {
      headers: { authorization: `Bearer ${await rig.token}` },
    });
    const { audit } = (await response.json()) as { audit: Entry[] };
    ids.push(...audit.map(({ id }) => id));
    path = /^<([^>]+)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1] ?? '';
  }
  expect(ids).toEqual(all.map(({ id }) => id));
  expect((await rig.api('GET', '/audit?limit=101')).status).toBe(400);
  expect((await rig.api('GET', '/audit?after=x')).status).toBe(400);
});
