import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { appRepository, Rig, requestHost } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '3' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

describe('a push that works', () => {
  test('the first one answers on its hostname and shows what happened', async () => {
    await using repo = await appRepository('web');
    const push = await repo.push(await rig.pushUrl('first'));
    expect(push.stderr).toMatch(/remote: -----> Deploy #1 of first: [0-9a-f]{7} "An app: web"/);
    expect(push.stderr).toMatch(/remote: -----> Building Dockerfile/);
    expect(push.stderr).toMatch(/remote: {8}GET \/ -> 200 after/);
    expect(push.stderr).toMatch(/remote: success: first v1 is live/);
    expect(push.stderr).toContain(`http://first.localhost:${rig.httpPort}`);
    expect(push.stderr).toMatch(/\[new branch\] +main -> main/);
    expect(push.code).toBe(0);
    expect(await rig.request('first')).toMatchObject({ status: 200, body: 'one' });
  });

  test('the second one replaces it, the branch moves, a clone has it', async () => {
    await using repo = await appRepository('web');
    const url = await rig.pushUrl('second');
    await repo.push(url);
    const commit = await repo.commit({ version: 'two' }, 'Second');
    const push = await repo.push(url);
    expect(push.stderr).toMatch(/Switching traffic v1 -> v2/);
    expect(push.stderr).toMatch(/[0-9a-f]{7}\.\.[0-9a-f]{7} +main -> main/);
    expect((await rig.request('second')).body).toBe('two');
    expect((await repo.git('ls-remote', url, 'main')).stdout).toContain(commit);
  });

  test('a repeated build says that everything was cached', async () => {
    await using repo = await appRepository('web');
    const url = await rig.pushUrl('cached');
    await repo.push(url);
    await repo.commit({}, 'Nothing new');
    const push = await repo.push(url);
    expect(push.stderr).toMatch(/2 of 2 steps cached/);
    expect(push.code).toBe(0);
  });

  test('main:redeploy deploys the live commit again', async () => {
    await using repo = await appRepository('web');
    const url = await rig.pushUrl('again');
    await repo.push(url);
    const push = await repo.push(url, 'main:redeploy');
    expect(push.stderr).toMatch(/Deploy #2 of again/);
    expect(push.stderr).toMatch(/success: again v2 is live/);
    expect(push.code).toBe(0);
    expect((await repo.git('ls-remote', url)).stdout).not.toContain('redeploy');
  });

  test('-o detach returns once queued; the next push tells how it ended', async () => {
    await using repo = await appRepository('web', {
      Dockerfile: `FROM gantry-test/node:1\nRUN sleep 2 # ${randomUUID()}\nCOPY . /app\nCMD ["node","/app/server.js"]\n`,
    });
    const url = await rig.pushUrl('detached');
    const began = performance.now();
    const push = await repo.push(url, 'main', { args: ['-o', 'detach'] });
    expect(push.code).toBe(0);
    expect(push.stderr).toContain('Deploy #1 of detached is queued');
    expect(performance.now() - began).toBeLessThan(5000);
    const log = await rig.gantry('logs', '--app', 'detached', '--deploy', '1');
    expect(log.stdout).toContain('success: detached v1 is live');
    await repo.commit({ version: 'two' }, 'Second');
    const second = await repo.push(url);
    expect(second.stderr).toMatch(/while you were away: deploy #1 \([0-9a-f]{7}\) went live/);
    expect(second.code).toBe(0);
  });

  test('a push of a commit that is being deployed attaches to it and replays its log', async () => {
    await using repo = await appRepository('web', {
      Dockerfile: `FROM gantry-test/node:1\nRUN echo the-beginning && sleep 3 # ${randomUUID()}\nCOPY . /app\nCMD ["node","/app/server.js"]\n`,
    });
    const url = await rig.pushUrl('attach');
    const pushes = await Promise.all([repo.push(url), repo.push(url)]);
    for (const push of pushes) {
      expect(push.stderr).toContain('the-beginning');
      expect(push.stderr).toMatch(/success: attach v1 is live/);
      expect(push.code).toBe(0);
    }
    expect(pushes.map((push) => push.stderr).join()).toContain('is being deployed as #1');
  });
});

describe('a push that fails', () => {
  const web = 'FROM gantry-test/node:1\nCOPY . /app\nCMD ["node","/app/server.js"]\n';
  const failures: [
    name: string,
    dockerfile: string | undefined,
    env: Record<string, string>,
    expected: RegExp[],
  ][] = [
    [
      'a build error',
      'FROM gantry-test/base:1\nRUN echo about-to-fail && exit 7\nCMD ["true"]\n',
      {},
      [/failed in "build"/, /about-to-fail/, /code 7/],
    ],
    [
      'a crash on boot',
      'FROM gantry-test/base:1\nCMD ["sh","-c","echo cannot start; exit 3"]\n',
      {},
      [/failed in "health check"/, /exited with code 3/, /cannot start/],
    ],
    [
      'never healthy',
      'FROM gantry-test/base:1\nCMD ["sleep","1000"]\n',
      {},
      [/failed in "health check"/, /nothing listens on port 8080/],
    ],
    [
      'a loopback listener',
      'FROM gantry-test/base:1\nCMD ["httpd","-f","-p","127.0.0.1:8080"]\n',
      {},
      [/listens on 127\.0\.0\.1:8080 only/],
    ],
    [
      'another port',
      'FROM gantry-test/base:1\nCMD ["httpd","-f","-p","3000"]\n',
      {},
      [/nothing listens on port 8080/, /:3000/, /CC_DOCKER_EXPOSED_HTTP_PORT=3000/],
    ],
    ['a wrong health path', web, { CC_HEALTH_CHECK_PATH: '/slow?ms=60000' }, [/not answered within/]],
    [
      'out of memory',
      'FROM gantry-test/base:1\nCMD ["dd","if=/dev/zero","of=/dev/null","bs=1G"]\n',
      {},
      [/killed: out of memory/],
    ],
    [
      'a missing command',
      'FROM gantry-test/base:1\nCMD ["nothing-here"]\n',
      {},
      [/failed in "start"/, /nothing-here/],
    ],
    [
      'a failing pre-build hook',
      web,
      { CC_PRE_BUILD_HOOK: 'echo in-hook; exit 4' },
      [/failed in "pre-build hook"/, /in-hook/, /exited with code 4/],
    ],
    ['a failing post-build hook', web, { CC_POST_BUILD_HOOK: 'exit 5' }, [/failed in "post-build hook"/]],
    ['a failing pre-run hook', web, { CC_PRE_RUN_HOOK: 'exit 6' }, [/failed in "pre-run hook"/]],
    ['no Dockerfile', undefined, {}, [/no Dockerfile/]],
    ['a Dockerfile outside', web, { CC_DOCKERFILE: 'link/passwd' }, [/must be inside the repository/]],
  ];

  test.each(failures)(
    '%s: our reason, the branch stays, the old version answers, the commit can be pushed again',
    async (name, dockerfile, env, expected) => {
      const app = name.toLowerCase().replaceAll(/[^a-z]+/g, '-');
      await using repo = await appRepository('web');
      const url = await rig.pushUrl(app);
      const before = (await repo.push(url)).stderr;
      expect(before).toMatch(/is live/);
      const live = (await repo.git('ls-remote', url, 'main')).stdout;

      await rig.setEnv(app, env);
      await repo.commit({ version: 'broken', Dockerfile: dockerfile, link: { linkTo: '/etc' } }, 'Break it');
      const push = await repo.push(url);
      expect(push).toMatchObject({ code: 1 });
      expect(push.stderr).toMatch(/! \[remote rejected\] main -> main \(deploy #2 failed in /);
      for (const pattern of expected) expect(push.stderr).toMatch(pattern);
      expect(push.stderr).toContain(`hint: v1 is still serving http://${app}.localhost:${rig.httpPort}`);
      expect(push.stderr).not.toContain('root:x:0:0');
      expect((await repo.git('ls-remote', url, 'main')).stdout).toBe(live);
      expect((await rig.request(app)).body).toBe('one');

      const again = await repo.push(url);
      expect(again.stderr).toMatch(/Deploy #3 of/);
      expect(again.code).toBe(1);
    },
  );
});

describe('what visitors get when there is nothing', () => {
  test('an unknown host gets our 404 page, an app without a release the 503 page', async () => {
    expect(await requestHost(rig.httpPort, 'nobody.localhost')).toMatchObject({ status: 404 });
    await rig.api('POST', '/apps', { name: 'empty' });
    await expect.poll(async () => (await rig.request('empty')).status, { timeout: 10_000 }).toBe(503);
  });
});
