import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { watchingProcesses } from '../support/processes.ts';
import { type Registry, registryPassword, registryUser, startRegistry } from '../support/registry.ts';
import { appRepository, Rig } from '../support/rig.ts';

let rig: Rig;
let registry: Registry;
beforeAll(async () => {
  registry = await startRegistry();
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '10' });
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

/** The variable keeps commands from being found in the cache of an earlier run. */
const serve = (image: string, ...instructions: string[]): string =>
  [
    `FROM ${image}`,
    `ENV TEST_RUN=${registry.host}`,
    ...instructions,
    'CMD ["httpd","-f","-p","8080","-h","/www"]',
    '',
  ].join('\n');
const page = ['RUN echo hello > /www/index.html'];

function login(changes: Record<string, string> = {}): Record<string, string> {
  return {
    CC_DOCKER_LOGIN_SERVER: registry.host,
    CC_DOCKER_LOGIN_USERNAME: registryUser,
    CC_DOCKER_LOGIN_PASSWORD: registryPassword,
    ...changes,
  };
}

describe('a private base image', () => {
  test.each(['true', 'false'])(
    'is built on with a login that no log, image or process shows (CC_DOCKER_BUILDX=%s)',
    async (buildx) => {
      const app = `private-${buildx}`;
      const image = await registry.push(app);
      await using repo = await appRepository('web', {
        Dockerfile: serve(
          image,
          'ARG CC_DOCKER_LOGIN_PASSWORD',
          'RUN echo "argument [$CC_DOCKER_LOGIN_PASSWORD]"',
          ...page,
        ),
      });
      await rig.setEnv(app, { ...login(), CC_DOCKER_BUILDX: buildx });

      const [push, commandLines] = await watchingProcesses(repo.push(await rig.pushUrl(app)));
      expect(push.stderr).toContain(`logged in to ${registry.host} as ${registryUser}`);
      expect(push.stderr).toMatch(/Registry login[^]*Building Dockerfile[^]*is live/);
      expect(push.stderr).toContain('argument []');
      expect((await rig.request(app)).body).toBe('hello\n');

      const told = [
        push.stderr,
        (await rig.gantry('logs', '--app', app)).stdout,
        await rig.log(),
        rig.output,
      ];
      for (const text of [...told, commandLines, await imagesOf(app), await redisFiles()]) {
        for (const secret of spellings(registryPassword)) expect(text.includes(secret)).toBe(false);
      }
    },
  );

  test('is not built on without a login, and the reason is the registry’s', async () => {
    const image = await registry.push('nobody');
    await using repo = await appRepository('web', { Dockerfile: serve(image, ...page) });
    const push = await repo.push(await rig.pushUrl('nobody'));
    expect(push.code).toBe(1);
    expect(push.stderr).toMatch(/failed in "build"[^]*401 Unauthorized/);
    expect(push.stderr).not.toContain('Registry login');
  });
});

describe('a login that fails', () => {
  test.each([
    [
      'with a wrong password',
      () => login({ CC_DOCKER_LOGIN_PASSWORD: 'wrong-password' }),
      'wrong user name or password',
    ],
    [
      'with half of it missing',
      () => login({ CC_DOCKER_LOGIN_PASSWORD: '' }),
      'CC_DOCKER_LOGIN_PASSWORD is not set',
    ],
    ['where nobody answers', () => login({ CC_DOCKER_LOGIN_SERVER: '127.0.0.1:1' }), 'connection refused'],
  ])('%s is a warning, and the build goes on', async (how, env, reason) => {
    const app = how.replaceAll(' ', '-');
    await using repo = await appRepository('web');
    await rig.setEnv(app, env());
    const push = await repo.push(await rig.pushUrl(app));
    const warning = push.stderr.split('\n').find((line) => line.includes('could not log in')) ?? '';
    expect(warning).toContain(reason);
    expect(warning).toContain('the build goes on without a login');
    expect(push.stderr).toMatch(/is live/);
    expect(push.code).toBe(0);
  });

  test('fails the deployment when the app wants it strict', async () => {
    await using repo = await appRepository('web');
    await rig.setEnv(
      'strict',
      login({ CC_DOCKER_LOGIN_PASSWORD: 'wrong-password', GANTRY_STRICT_LOGIN: 'true' }),
    );
    const push = await repo.push(await rig.pushUrl('strict'));
    expect(push.code).toBe(1);
    expect(push.stderr).toMatch(
      /failed in "registry login"[^]*could not log in to 127\.0\.0\.1:\d+: wrong user name or password/,
    );
    expect(push.stderr).not.toContain('Building');
  });
});

describe('secrets', () => {
  const secret = 'correct-horse-battery-staple\nsecond line of it\n';

  test('reach a build by name and leave no trace of it', async () => {
    await using repo = await appRepository('web', {
      Dockerfile: serve(
        'gantry-test/base:1',
        'RUN --mount=type=secret,id=NPM_TOKEN,required=true sha256sum < /run/secrets/NPM_TOKEN > /www/index.html',
      ),
    });
    await rig.setEnv('secret', { NPM_TOKEN: secret });
    const push = await repo.push(await rig.pushUrl('secret'));
    expect(push.stderr).toMatch(/is live/);
    expect(push.stderr).not.toMatch(/warning/);
    expect((await rig.request('secret')).body).toBe(
      `${createHash('sha256').update(secret).digest('hex')}  -\n`,
    );
    for (const text of [push.stderr, await rig.log(), await imagesOf('secret')]) {
      expect(text.includes('correct-horse-battery-staple')).toBe(false);
    }
  });

  test('that the app does not have fail the build by name', async () => {
    await using repo = await appRepository('web', {
      Dockerfile: serve('gantry-test/base:1', 'RUN --mount=type=secret,id=MISSING,required=true true'),
    });
    const push = await repo.push(await rig.pushUrl('no-secret'));
    expect(push.code).toBe(1);
    expect(push.stderr).toContain('the secret MISSING is no variable of the app');
  });

  test('taken as arguments are warned of by name, and their value is shown nowhere', async () => {
    await using repo = await appRepository('web', {
      Dockerfile: serve(
        'gantry-test/base:1',
        'ARG NPM_TOKEN',
        'ARG VERSION',
        'RUN test -n "$NPM_TOKEN"',
        ...page,
      ),
    });
    await rig.setEnv('warned', { NPM_TOKEN: 'correct-horse-battery-staple' });
    const push = await repo.push(await rig.pushUrl('warned'));
    expect(push.stderr).toMatch(/warning: ARG NPM_TOKEN leaves its value in the history of the image/);
    expect(push.stderr).not.toContain('ARG VERSION leaves');
    expect(push.stderr).not.toContain('correct-horse');
    expect(push.code).toBe(0);
  });

  test('in a command that fails are hidden in the reason, too', async () => {
    await using repo = await appRepository('web', {
      Dockerfile: serve(
        'gantry-test/base:1',
        'ARG NPM_TOKEN',
        `RUN test ${'x'.repeat(130)}"$NPM_TOKEN" = other`,
      ),
    });
    await rig.setEnv('reason', { NPM_TOKEN: 'correct-horse-battery-staple' });
    const push = await repo.push(await rig.pushUrl('reason'));
    expect(push.code).toBe(1);
    const listed = (await rig.api('GET', '/apps/reason/deployments')).body;
    for (const text of [push.stderr, listed, await rig.log(), await redisFiles()]) {
      expect(text.includes('correct-horse')).toBe(false);
    }
  });
});

/** A text as it is, and as JSON, a URL and a registry's header would have it. */
function spellings(text: string): string[] {
  const json = JSON.stringify(text).slice(1, -1);
  const basic = Buffer.from(`${registryUser}:${text}`).toString('base64').replace(/=+$/, '');
  return [
    text,
    json,
    encodeURIComponent(text),
    Buffer.from(text).toString('base64').replace(/=+$/, ''),
    basic,
  ];
}

/** What the engine tells of an app's images and containers, without the variables of the containers themselves. */
async function imagesOf(app: string): Promise<string> {
  const docker = localDocker();
  const images = await docker.listImages({
    filters: { label: [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`] },
  });
  const about = images.map(async ({ Id }) => [
    await docker.getImage(Id).inspect(),
    await docker.getImage(Id).history(),
  ]);
  expect(about.length).toBeGreaterThan(0);
  return JSON.stringify(await Promise.all(about));
}

async function redisFiles(): Promise<string> {
  const folder = `${rig.dataDir}/redis/appendonlydir`;
  const files = await readdir(folder);
  return (await Promise.all(files.map((file) => readFile(`${folder}/${file}`, 'utf8')))).join('');
}
