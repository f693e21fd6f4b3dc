import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { appRepository, Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '4' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

/** Answers what its environment is, and 503 on /ready. */
const server = `require('node:http').createServer((req, res) => {
  if (req.url === '/ready') res.statusCode = 503;
  res.end(JSON.stringify({ env: process.env, from: req.socket.remoteAddress, cwd: process.cwd() }));
}).listen(process.env.PORT, '0.0.0.0');`;

describe('health paths', () => {
  test('must all answer 200: one line each, and those that fail are named together', async () => {
    await using repo = await appRepository('web', { 'server.js': server });
    await rig.setEnv('healthy', { CC_HEALTH_CHECK_PATH_0: '/a', CC_HEALTH_CHECK_PATH_1: '/b?c=d' });
    const good = await repo.push(await rig.pushUrl('healthy'));
    expect(good.stderr).toMatch(/GET \/a -> 200 after/);
    expect(good.stderr).toMatch(/GET \/b\?c=d -> 200 after/);
    expect(good.code).toBe(0);

    await rig.setEnv('healthy', { CC_HEALTH_CHECK_PATH_2: '/ready' });
    await repo.commit({ change: '1' });
    const bad = await repo.push(await rig.pushUrl('healthy'));
    expect(bad.stderr).toMatch(/GET \/a -> 200 after/);
    expect(bad.stderr).toMatch(/GET \/ready -> 503/);
    expect(bad.stderr).toContain('failed in health check: 1 of 3 health checks failed: GET /ready 503');
    expect(bad.code).toBe(1);
  });
});

test.each([
  ['FROM scratch\nCOPY version /version\n', 'the image would have no command to start'],
  ['FROM gantry-test/base:1\nRUN sleep 60\n', 'gantry-test/base:1 has none either'],
])('a Dockerfile without a command is refused before it is built: %j', async (dockerfile, reason) => {
  await using repo = await appRepository('web', { Dockerfile: dockerfile });
  const push = await repo.push(await rig.pushUrl('commandless'));
  expect(push.stderr).toContain(reason);
  expect(push.stderr).toContain('hint: add CMD or ENTRYPOINT to the Dockerfile');
  expect(push.stderr).not.toContain('Building');
  expect(push.code).toBe(1);
});

describe('injected variables', () => {
  test('say what runs, where, and who asks; the id of the app and the name of the instance included', async () => {
    await using repo = await appRepository('web', {
      'server.js': server,
      Dockerfile:
        'FROM gantry-test/node:1\nWORKDIR /srv\nCOPY . .\nARG APP_ID\nARG COMMIT_ID\nARG INSTANCE_TYPE\nRUN echo "built: $APP_ID $COMMIT_ID $INSTANCE_TYPE"\nCMD ["node","server.js"]\n',
    });
    await rig.setEnv('who', { CC_PRE_BUILD_HOOK: 'echo "hook: $APP_ID $INSTANCE_TYPE $APP_HOME = $(pwd)"' });
    const push = await repo.push(await rig.pushUrl('who'));
    expect(push.code).toBe(0);
    const { env, from, cwd } = JSON.parse((await rig.request('who')).body) as {
      env: Record<string, string>;
      from: string;
      cwd: string;
    };
    const commit = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
    expect(env).toMatchObject({
      PORT: '8080',
      APP_ID: expect.stringMatching(/^app_[0-9a-f-]{36}$/),
      APP_HOME: cwd,
      CC_APP_NAME: 'who',
      CC_DEPLOYMENT_ID: '1',
      CC_COMMIT_ID: commit,
      COMMIT_ID: commit,
      INSTANCE_TYPE: 'production',
      INSTANCE_NUMBER: '0',
      INSTANCE_ID: 'who-v1-0',
      CC_PRETTY_INSTANCE_NAME: expect.stringMatching(/^[a-z]+-[a-z]+-\d+$/),
    });
    expect(env.CC_REVERSE_PROXY_IPS?.split(',')).toContain(from.replace('::ffff:', ''));
    expect(push.stderr).toContain(`built: ${env.APP_ID} ${commit} build`);
    expect(push.stderr).toMatch(new RegExp(`hook: ${env.APP_ID} build (/\\S+) = \\1`));

    await repo.commit({ change: '1' });
    await repo.push(await rig.pushUrl('who'));
    const next = JSON.parse((await rig.request('who')).body) as { env: Record<string, string> };
    expect(next.env.APP_ID).toBe(env.APP_ID);
    expect(next.env.INSTANCE_ID).toBe('who-v2-0');
  });

  test.each(['true', 'false'])(
    'that change with every deployment do not spoil the cache (CC_DOCKER_BUILDX=%s)',
    async (buildx) => {
      await using repo = await appRepository('web', {
        Dockerfile:
          'FROM gantry-test/node:1\nCOPY version server.js /app/\nRUN echo something slow\nCMD ["node","/app/server.js"]\n',
      });
      const app = `cached-${buildx}`;
      await rig.setEnv(app, { CC_DOCKER_BUILDX: buildx });
      expect((await repo.push(await rig.pushUrl(app))).code).toBe(0);
      await rig.setEnv(app, { ANOTHER: 'variable' });
      await repo.commit({ unrelated: 'change' });
      const again = await repo.push(await rig.pushUrl(app));
      expect(again.code).toBe(0);
      expect(again.stderr).toMatch(/COPY version server\.js \/app\/ \(cached\)/);
      expect(again.stderr).toMatch(/RUN echo something slow \(cached\)/);
    },
  );
});

describe('gantry env import', () => {
  const values: Record<string, string> = { ONE: '1', QUOTED: 'a "b" \\ c', LINES: 'x\ny\n', EMPTY: '' };

  test('reads all three formats, from a file and from standard input, and says when it is in force', async () => {
    const expert = `# from the console\nONE=1\nQUOTED="a \\"b\\" \\ c"\nLINES="x\ny\n"\nEMPTY=""\n`;
    const file = join(rig.dataDir, 'import.env');
    await writeFile(file, expert);
    await rig.setEnv('import', { OLD: 'old' });
    const first = await rig.gantry('env', 'import', file, '--app', 'import');
    expect(first.code).toBe(0);
    expect(first.stderr).toContain('in force with the next deployment');
    expect(JSON.parse((await rig.gantry('env', 'list', '--app', 'import', '--json')).stdout)).toEqual({
      ...values,
      OLD: 'old',
    });

    const pairs = [{ name: 'ONE', value: 'eins' }];
    const replaced = await rig.gantryWith(
      JSON.stringify(pairs),
      'env',
      'import',
      '--replace',
      '--app',
      'import',
    );
    expect(replaced.code).toBe(0);
    expect(JSON.parse((await rig.gantry('env', 'list', '--app', 'import', '--json')).stdout)).toEqual({
      ONE: 'eins',
    });

    const simple = await rig.gantryWith('TWO=two words\n', 'env', 'import', '-', '--app', 'import');
    expect(simple.code).toBe(0);
    const written = (await rig.gantry('env', 'list', '--app', 'import', '--expert')).stdout;
    expect(written).toContain('TWO="two words"\n');
    const same = await rig.gantryWith(written, 'env', 'import', '--app', 'import');
    expect(same.stderr).toContain('nothing to change');
  });

  test('that is wrong anywhere changes nothing and names the lines', async () => {
    await rig.setEnv('broken', { KEPT: 'yes' });
    const answer = await rig.gantryWith('GOOD=1\n2BAD=x\nnonsense\n', 'env', 'import', '--app', 'broken');
    expect(answer.code).toBe(2);
    expect(answer.stderr).toMatch(/nothing was imported: line 2: .*; line 3: is not NAME=value/);
    expect(JSON.parse((await rig.gantry('env', 'list', '--app', 'broken', '--json')).stdout)).toEqual({
      KEPT: 'yes',
    });
  });
});
