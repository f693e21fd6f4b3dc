import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Registry, startRegistry } from '../support/registry.ts';
import { publish, serving } from '../support/registry-images.ts';
import { Rig, until } from '../support/rig.ts';

let rig: Rig;
let registry: Registry;
beforeAll(async () => {
  registry = await startRegistry({ isOpen: true });
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '20' });
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

type Answer = {
  status: number;
  body: { state: string; reason?: string; number?: number; delivery?: string };
};
type Deployment = {
  number: number;
  state: string;
  trigger: string;
  by: string;
  image: { reference: string; digest: string } | null;
};

const web = (page: string) => ({ page, config: { Cmd: serving(8080) } });

async function linked(app: string, provider = 'registry', tag = 'latest') {
  const image = `${registry.host}/${app}`;
  const options = ['--provider', provider, '--image', image, '--tag', tag];
  const made = await rig.gantry('webhooks', 'link', app, ...options, '--json');
  return JSON.parse(made.stdout) as { secret: string; path: string; url: string };
}

/** What the registry would send. */
function envelope(app: string, digest: string, at: Date, tag = 'latest'): string {
  const target = { repository: app, tag, digest, mediaType: 'application/vnd.oci.image.manifest.v1+json' };
  return JSON.stringify({ events: [{ id: randomUUID(), timestamp: at, action: 'push', target }] });
}

async function send(path: string, body: string, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${rig.port}${path}`, { method: 'POST', body, headers });
  return { status: response.status, body: (await response.json()) as Answer['body'] };
}

async function deployments(app: string): Promise<Deployment[]> {
  const { body } = await rig.api('GET', `/apps/${app}/deployments`);
  return (JSON.parse(body) as { deployments: Deployment[] }).deployments;
}

async function isLive(app: string, number: number | undefined): Promise<void> {
  await until(`#${number} of ${app} is live`, async () =>
    (await deployments(app)).some((one) => one.number === number && one.state === 'live'),
  );
}

test('what is pushed to a real registry is deployed by its digest, because the registry says so', async () => {
  const { secret, url } = await linked('real');
  await registry.notify(url, `Bearer ${secret}`);
  const one = await publish(registry.host, 'real:latest', web('one'));
  await isLive('real', 1);
  expect((await rig.request('real')).body).toBe('one');
  await publish(registry.host, 'real:other', web('not this'));
  const two = await publish(registry.host, 'real:latest', web('two'));
  await isLive('real', 2);
  expect((await rig.request('real')).body).toBe('two');
  const reference = `${registry.host}/real:latest`;
  expect(await deployments('real')).toMatchObject([
    { number: 2, trigger: 'webhook', by: 'registry', image: { reference, digest: two } },
    { number: 1, trigger: 'webhook', by: 'registry', image: { reference, digest: one } },
  ]);
  const list = (await rig.gantry('webhooks', 'deliveries', '--app', 'real')).stdout;
  expect(list).toContain(`real:latest      ${two.slice(0, 19)}  deploying as #2`);
  // It tells of what we pull, too.
  expect(list).toContain('ignored no tag of an image was pushed');
  expect(list).toContain('ignored the tag other; only latest is deployed');
  expect((await rig.gantry('webhooks', 'show', '--app', 'real')).stdout).toMatch(
    /registry +127\S+real +latest/,
  );
});

describe('a delivery', () => {
  test('that comes 100 times at once is one deployment, and a later one of what is live none', async () => {
    const { secret, path } = await linked('flood');
    const digest = await publish(registry.host, 'flood:latest', web('x'));
    const body = envelope('flood', digest, new Date());
    const headers = { authorization: `Bearer ${secret}` };
    const answers = await Promise.all(Array.from({ length: 100 }, () => send(path, body, headers)));
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(1);
    await isLive('flood', 1);
    expect(await send(path, envelope('flood', digest, new Date()), headers)).toMatchObject({
      status: 200,
      body: { state: 'ignored', reason: expect.stringMatching(/is live already/) as string },
    });
    expect(await deployments('flood')).toHaveLength(1);
  });

  test('of an older push that comes late does not replace a newer one; it can be delivered again on purpose', async () => {
    const { secret, path } = await linked('late');
    const one = await publish(registry.host, 'late:latest', web('one'));
    const two = await publish(registry.host, 'late:latest', web('two'));
    const headers = { authorization: `Bearer ${secret}` };
    const [early, late] = [new Date(1e12), new Date(1e12 + 5)];
    const newer = await send(path, envelope('late', two, late), headers);
    await isLive('late', newer.body.number);
    const older = await send(path, envelope('late', one, early), headers);
    expect(older).toMatchObject({
      status: 200,
      body: { state: 'ignored', reason: expect.stringMatching(/which is later, came before it/) as string },
    });
    expect((await rig.request('late')).body).toBe('two');
    const again = await rig.gantry('webhooks', 'redeliver', older.body.delivery ?? '', '--app', 'late');
    expect(again.stdout).toMatch(/deploying as deploy #2/);
    await isLive('late', 2);
    expect((await rig.request('late')).body).toBe('one');
  });

  test('that is not signed, signed wrongly or makes no sense is refused', async () => {
    const { secret, path } = await linked('safe');
    const body = envelope('safe', `sha256:${'0'.repeat(64)}`, new Date());
    expect(await send(path, body)).toMatchObject({ status: 401, body: { reason: 'it is not signed' } });
    expect(await send(path, body, { authorization: 'Bearer wrong' })).toMatchObject({ status: 401 });
    expect(await send(`${path}/${encodeURIComponent(secret)}`, body)).toMatchObject({ status: 401 });
    expect(await send(path, '{}', { authorization: `Bearer ${secret}` })).toMatchObject({ status: 400 });
    expect(await send('/webhooks/safe/ghcr', body)).toMatchObject({ status: 404 });
    expect(await deployments('safe')).toEqual([]);
  });
});

describe('Docker Hub', () => {
  test('is told an address with a secret at its end, and makes the tag be looked up', async () => {
    const options = ['--provider', 'dockerhub', '--image', 'ana/hub', '--json'];
    const made = await rig.gantry('webhooks', 'link', 'hub', ...options);
    const { path, secret } = JSON.parse(made.stdout) as { path: string; secret: string };
    const body = JSON.stringify({ push_data: { tag: 'latest' }, repository: { repo_name: 'ana/hub' } });
    expect(await send('/webhooks/hub/dockerhub', body)).toMatchObject({ status: 401 });
    expect(await send(path.slice(0, -1), body)).toMatchObject({ status: 401 });
    const answer = await send(path, body);
    expect(answer).toMatchObject({ status: 202, body: { number: 1 } });
    // No hub can be reached from here; what it would have pulled is what counts.
    await until('it has ended', async () => (await deployments('hub'))[0]?.state === 'failed');
    expect(await deployments('hub')).toMatchObject([
      { image: { reference: 'ana/hub:latest', digest: null } },
    ]);
    const end = path.split('/').at(-1) ?? '';
    const shown = await rig.gantry('webhooks', 'show', '--app', 'hub', '--json');
    for (const text of [shown.stdout, await rig.log(), rig.output, (await rig.gantry('audit')).stdout])
      for (const word of [end, secret]) expect(text).not.toContain(word);
  });
});

test.each([
  [['--provider', 'registry', '--repo', 'https://forge.example/a.git'], /speaks of images/],
  [['--provider', 'github', '--image', 'shop'], /speaks of commits/],
  [['--provider', 'registry', '--image=-v'], /hyphen/],
  [['--provider', 'registry', '--image', `shop@sha256:${'0'.repeat(64)}`], /never changes/],
  [['--provider', 'registry', '--image', 'shop', '--tag', 'a b'], /no tag/],
  [['--provider', 'dockerhub', '--image', 'ghcr.io/ana/shop'], /is not Docker Hub/],
  [['--provider', 'registry', '--image', 'shop', '--poll', '5m'], /only the branch of a repository/],
])('a link such as %j is refused', async (options, reason) => {
  const link = await rig.gantry('webhooks', 'link', 'wrong', ...options);
  expect(link.code).toBe(2);
  expect(link.stderr).toMatch(reason);
});
