import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { everyFile } from '../support/every-file.ts';
import { inventory, settledInventory } from '../support/inventory.ts';
import { type Registry, registryPassword, registryUser, startRegistry } from '../support/registry.ts';
import { appRepository, Rig } from '../support/rig.ts';

let rig: Rig;
let registry: Registry;
let open: Registry;
beforeAll(async () => {
  registry = await startRegistry();
  open = await startRegistry({ isOpen: true });
  rig = await Rig.make({
    GANTRY_HEALTH_TIMEOUT: '20',
    GANTRY_REGISTRY: `${registry.host}/team`,
    GANTRY_REGISTRY_USERNAME: registryUser,
  });
  const passwordFile = join(rig.dataDir, 'registry-password');
  await writeFile(passwordFile, `${registryPassword}\n`, { mode: 0o600 });
  rig.env.GANTRY_REGISTRY_PASSWORD_FILE = passwordFile;
  await rig.start();
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  await open[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

type Release = { number: number; published: string | null };

async function releases(app: string): Promise<Release[]> {
  return JSON.parse((await rig.gantry('releases', '--app', app, '--json')).stdout) as Release[];
}

/** What a registry has under a name, asked for as anybody would. */
async function digestIn({ host }: Registry, name: string, tag: string): Promise<string | null> {
  const login = Buffer.from(`${registryUser}:${registryPassword}`).toString('base64');
  const answer = await fetch(`http://${host}/v2/${name}/manifests/${tag}`, {
    headers: {
      authorization: `Basic ${login}`,
      accept: 'application/vnd.docker.distribution.manifest.v2+json',
    },
  });
  return answer.ok ? answer.headers.get('docker-content-digest') : null;
}

test('a built image is in the registry under app and commit, its digest is recorded, and nothing of that name is left here', async () => {
  const app = 'shared';
  await using repo = await appRepository('web');
  const push = await repo.push(await rig.pushUrl(app));
  const commit = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
  expect(push.stderr).toContain(`-----> Publishing ${registry.host}/team/${app}:${commit}`);
  expect(push.code).toBe(0);
  const digest = await digestIn(registry, `team/${app}`, commit);
  expect(digest).toMatch(/^sha256:/);
  expect(push.stderr).toContain(digest);
  expect((await releases(app))[0]?.published).toBe(`${registry.host}/team/${app}:${commit}@${digest}`);
  const tags = (await localDocker().listImages()).flatMap(({ RepoTags }) => RepoTags ?? []);
  expect(tags.filter((tag) => tag.startsWith(registry.host))).toEqual([]);

  // Another app can be made of it.
  const copied = await rig.gantryWith(
    `${registryPassword}\n`,
    'deploy',
    'copy',
    '--image',
    `${registry.host}/team/${app}@${digest}`,
    '--username',
    registryUser,
  );
  expect(copied.stdout + copied.stderr).toMatch(/copy v1 is live/);
  expect((await rig.request('copy')).body).toBe('one');

  // What is built once is not published again.
  expect((await rig.gantry('restart', '--app', app)).stdout).not.toContain('Publishing');
  for (const text of [push.stderr, await rig.log(), rig.output]) expect(text).not.toContain(registryPassword);
  expect(await everyFile(join(rig.dataDir, 'redis'))).not.toContain(registryPassword);
});

test('an app may have a registry of its own, which does not get the login of the server, or none', async () => {
  const app = 'apart';
  await using repo = await appRepository('web');
  await rig.setEnv(app, {});
  expect((await rig.gantry('apps', 'set', app, '--registry', 'none')).code).toBe(0);
  const nowhere = await repo.push(await rig.pushUrl(app));
  expect(nowhere.stderr).not.toContain('Publishing');
  expect((await releases(app))[0]?.published).toBe(null);

  await rig.gantry('apps', 'set', app, '--registry', open.host);
  await repo.commit({ version: 'two' });
  expect((await repo.push(await rig.pushUrl(app))).stderr).toContain(`Publishing ${open.host}/${app}:`);

  // The same registry, another place: whoever sets that need not be whoever has the server's login.
  const before = await settledInventory(rig);
  await rig.gantry('apps', 'set', app, '--registry', `${registry.host}/other`);
  await repo.commit({ version: 'three' });
  const refused = await repo.push(await rig.pushUrl(app));
  expect(refused.stderr).toMatch(/failed in "publish"/);
  expect(refused.stderr).toContain('the registry wants a login');
  expect(refused.stderr).toContain(`hint: deploy without: gantry apps set ${app} --registry none`);
  expect(refused.code).toBe(1);
  expect((await rig.request(app)).body).toBe('two');
  await expect.poll(() => inventory(rig), { timeout: 20_000 }).toEqual(before);

  await rig.setEnv(app, {
    CC_DOCKER_LOGIN_SERVER: registry.host,
    CC_DOCKER_LOGIN_USERNAME: registryUser,
    CC_DOCKER_LOGIN_PASSWORD: registryPassword,
  });
  expect((await repo.push(await rig.pushUrl(app))).code).toBe(0);
  const commit = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
  expect(await digestIn(registry, `other/${app}`, commit)).toMatch(/^sha256:/);
});

test('a registry that is away is named, and what serves goes on', async () => {
  const app = 'alone';
  await using repo = await appRepository('web');
  expect((await repo.push(await rig.pushUrl(app))).code).toBe(0);
  await registry.stop();
  await repo.commit({ version: 'two' });
  const push = await repo.push(await rig.pushUrl(app));
  await registry.resume();
  expect(push.stderr).toMatch(/cannot publish \S+: the registry does not answer: connection refused/);
  expect(push.code).toBe(1);
  expect((await rig.request(app)).body).toBe('one');
  expect((await repo.push(await rig.pushUrl(app))).code).toBe(0);
  expect((await rig.request(app)).body).toBe('two');
});

test.each([
  '-v',
  'Upper.example/x',
  'no spaces.example',
  'shop',
  'host.example/a:tag',
  'https://host.example',
])('"%s" is no registry', async (place) => {
  await rig.setEnv('picky', {});
  const refused = await rig.gantry('apps', 'set', 'picky', `--registry=${place}`);
  expect(refused.stderr).toContain(
    'a registry is a host and perhaps a path, like registry.example.com/team, or none',
  );
  expect(refused.code).toBe(2);
});
