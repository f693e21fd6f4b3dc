import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { appRepository, Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '20' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

const Dockerfile = 'FROM gantry-test/base:1\nCOPY . /app\nCMD ["httpd","-f","-p","8080","-h","/app/www"]\n';

describe('APP_FOLDER', () => {
  test('is where the Dockerfile, the build context and the hooks are', async () => {
    await using repo = await appRepository('page', {
      Dockerfile: undefined,
      'top-secret': 'not part of the app',
      'services/web/Dockerfile': `${Dockerfile}RUN ls -a /app\n`,
      'services/web/www/index.html': 'from the folder',
      'services/web/migrate.sh': {
        executable: true,
        content: '#!/bin/sh\necho "migrates in $PWD, home $APP_HOME"\n',
      },
    });
    await rig.setEnv('folder', { APP_FOLDER: 'services/web/', CC_PRE_BUILD_HOOK: 'migrate.sh' });
    const push = await repo.push(await rig.pushUrl('folder'));
    expect(push.stderr).toMatch(/migrates in (\/\S+\/services\/web), home \1 *$/m);
    expect(push.stderr).not.toMatch(/top-secret/);
    expect(push.code).toBe(0);
    expect((await rig.request('folder')).body).toBe('from the folder');
  });

  test.each([
    ['absent', /APP_FOLDER is absent, and the commit has no such folder/],
    ['out', /APP_FOLDER is out, a link that leads out of the repository/],
    ['version', /APP_FOLDER is version, which is not a folder/],
  ])('%s is refused in a clear line', async (folder, said) => {
    await using repo = await appRepository('page', { out: { linkTo: '../../..' } });
    await rig.setEnv(`bad-${folder}`, { APP_FOLDER: folder });
    const push = await repo.push(await rig.pushUrl(`bad-${folder}`));
    expect(push.stderr).toMatch(said);
    expect(push.code).toBe(1);
  });

  test('that a hook turns into a link out of the checkout is refused as well', async () => {
    await using repo = await appRepository('page', {
      'app/Dockerfile': Dockerfile,
      'app/www/index.html': 'x',
    });
    await rig.setEnv('swapped', {
      APP_FOLDER: 'app',
      CC_PRE_BUILD_HOOK: 'cd .. && rm -r app && ln -s /etc app',
    });
    const push = await repo.push(await rig.pushUrl('swapped'));
    expect(push.stderr).toMatch(
      /failed in build: APP_FOLDER is app, a link that leads out of the repository/,
    );
  });

  test('outside the repository is refused when it is set', async () => {
    await rig.api('POST', '/apps', { name: 'outside' });
    for (const folder of ['/etc', '../x', 'a/../../x'])
      expect((await rig.gantry('env', 'set', `APP_FOLDER=${folder}`, '--app', 'outside')).stderr).toMatch(
        /APP_FOLDER must be a folder inside the repository/,
      );
  });
});

test('there is no .git for hooks, in the build or in the image, and LFS pointers are named', async () => {
  await using repo = await appRepository('page', {
    Dockerfile: `${Dockerfile}RUN find /app -name .git | wc -l\n`,
    'www/index.html': 'x',
    'www/logo.png': 'version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12345\n',
    '.gitattributes': '*.png filter=lfs\n',
  });
  await rig.setEnv('bare', { CC_PRE_BUILD_HOOK: 'ls -a; git status 2>&1 | head -n 1' });
  const push = await repo.push(await rig.pushUrl('bare'));
  expect(push.stderr).toMatch(/Git LFS is not supported; these files are only pointers: www\/logo.png/);
  expect(push.stderr).toMatch(/not a git repository/);
  expect(push.stderr).not.toMatch(/^remote: +\.git *$/m);
  expect(push.stderr).toMatch(/^remote: +0 *$/m);
  expect(push.code).toBe(0);
});
