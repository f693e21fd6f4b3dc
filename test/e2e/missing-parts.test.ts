import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { Failpoints } from '../chaos/failpoints.ts';
import { page, slowStep } from '../support/dockerfiles.ts';
import { EngineProxy } from '../support/engine-proxy.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { processesIn, processesOf } from '../support/processes.ts';
import { appRepository, freePort, Rig, until } from '../support/rig.ts';
import { type StartedPush, startPush } from '../support/started-push.ts';

/** A start that fails says so once, in few words, and leaves no process behind. */
async function expectRefusal(rig: Rig, end: { code: number | null; stdout: string; stderr: string }) {
  expect(end.code).toBe(1);
  expect(end.stdout).toBe('');
  expect(end.stderr).toMatch(/^error: [^\n]+\n$/);
  expect(end.stderr).not.toMatch(/\n +at |node:internal|\.[jt]s:\d/);
  await expect.poll(() => processesOf(rig.dataDir), { timeout: 5000 }).toEqual([]);
}

async function occupy(port: number): Promise<void> {
  const server: Server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  onTestFinished(async () => void (await new Promise((resolve) => server.close(resolve))));
}

/** A PATH with everything of this machine but one program. */
async function pathWithout(program: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'gantry-path-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  for (const place of ['/usr/sbin', '/usr/bin']) {
    for (const name of await readdir(place)) {
      if (name !== program) await symlink(join(place, name), join(folder, name)).catch(() => {});
    }
  }
  return folder;
}

describe('at the start', () => {
  test('no redis-server: one line with what to type, and nothing is left', async () => {
    await using rig = await Rig.make();
    const end = await rig.failToStart({ PATH: await pathWithout('redis-server') });
    expect(end.stderr).toMatch(
      /redis-server was not found on PATH; install it: apt-get install redis-server/,
    );
    await expectRefusal(rig, end);
  });

  test('no haproxy: one line with what to type, and the Redis that was started is ended', async () => {
    await using rig = await Rig.make();
    // It is looked for in /usr/sbin, too, so that folder has to be an empty one.
    const hidden = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /usr/sbin && exec "$@"', 'sh'];
    const end = await rig.failToStart({ PATH: await pathWithout('haproxy') }, hidden);
    expect(end.stderr).toMatch(/haproxy was not found on PATH; install it: apt-get install haproxy/);
    await expectRefusal(rig, end);
  });

  test.each(['GANTRY_PORT', 'GANTRY_HTTP_PORT'])('%s is taken: one line that names it', async (setting) => {
    await using rig = await Rig.make();
    const port = setting === 'GANTRY_PORT' ? rig.port : rig.httpPort;
    await occupy(port);
    const end = await rig.failToStart();
    expect(end.stderr).toContain(`port ${port} is taken by another program`);
    expect(end.stderr).toContain(`set ${setting} to another one`);
    await expectRefusal(rig, end);
  });

  test('wrong and unknown settings: all of them at once, before anything is started', async () => {
    await using rig = await Rig.make();
    const end = await rig.failToStart({
      GANTRY_PORT: '65536',
      GANTRY_HTTP_PORT: '80;x',
      GANTRY_APP_MEMORY: 'much',
      GANTRY_COLOUR: 'blue',
      DOCKER_HOST: 'tcp://10.0.0.1:2375',
    });
    expect(end.code).toBe(1);
    expect(end.stderr.trim().split('\n').sort()).toEqual([
      'DOCKER_HOST=tcp://10.0.0.1:2375 is not valid, for example DOCKER_HOST=unix:///var/run/docker.sock',
      'GANTRY_APP_MEMORY=much is not valid, for example GANTRY_APP_MEMORY=1G',
      'GANTRY_HTTP_PORT=80;x is not valid, for example GANTRY_HTTP_PORT=80',
      'GANTRY_PORT=65536 is not valid, for example GANTRY_PORT=8010',
      'error: GANTRY_COLOUR is not a setting of Gantry',
    ]);
    expect(await readdir(rig.dataDir)).toEqual([]);
  });

  test('a Redis of its own that evicts: refused with what to set', async () => {
    await using rig = await Rig.make();
    const port = await startRedis('--maxmemory-policy', 'allkeys-lru');
    const end = await rig.failToStart({ GANTRY_REDIS_URL: `redis://127.0.0.1:${port}` });
    expect(end.stderr).toMatch(
      /Redis may evict keys \(maxmemory-policy allkeys-lru\), which loses deployments; set it to noeviction/,
    );
    await expectRefusal(rig, end);
  });

  test('a Redis of its own that is not there: says so within seconds, without its password', async () => {
    await using rig = await Rig.make();
    const port = await freePort();
    const end = await rig.failToStart({ GANTRY_REDIS_URL: `redis://:sesame@127.0.0.1:${port}` });
    expect(end.stderr).toMatch(
      /Redis does not answer at 127\.0\.0\.1:\d+ \(connect ECONNREFUSED .*\); check GANTRY_REDIS_URL/,
    );
    expect(end.stderr).not.toContain('sesame');
    await expectRefusal(rig, end);
  });
});

/** Ends with the test. */
async function startRedis(...options: string[]): Promise<number> {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'gantry-redis-'));
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder, ...options];
  const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
    await rm(folder, { recursive: true, force: true });
  });
  await until('Redis is ready', () => /Ready to accept connections/.test(said));
  return port;
}

describe('the Docker engine', () => {
  let engine: EngineProxy;
  let rig: Rig;
  beforeAll(async () => {
    engine = await EngineProxy.start();
    await engine.goAway();
    rig = await Rig.start({
      DOCKER_HOST: engine.dockerHost,
      GANTRY_HEALTH_TIMEOUT: '5',
      GANTRY_BUILD_TIMEOUT: '20',
    });
  });
  afterAll(async () => {
    await engine.comeBack();
    await rig[Symbol.asyncDispose]();
    await engine[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    rig.explainFailures();
    await engine.comeBack();
  });

  test('is down at the start: Gantry starts, a push says what to do, and works when it is back', async () => {
    await engine.goAway();
    await using repo = await appRepository('page');
    const url = await rig.pushUrl('shop');
    const push = await repo.push(url);
    expect(push.code).toBe(1);
    expect(errorBlock(push.stderr)).toEqual([
      expect.stringMatching(/^error: deploy #1 failed in "build" after /),
      `       the Docker engine does not answer at ${engine.path}; start it: systemctl start docker`,
      expect.stringMatching(/^hint: full log: .* retry: git push clever main$/),
    ]);
    await engine.comeBack();
    const again = await repo.push(url);
    expect(again.stderr).toMatch(/success: shop v2 is live/);
    expect(again.code).toBe(0);
  });

  const breaks = [
    [
      'in the middle of a build',
      page(slowStep(60)),
      (push: StartedPush) => push.says('half-way').then(() => engine.goAway()),
      /^ {7}the Docker engine went away during the build and was not back after [\d.]+s$/,
    ],
    [
      'before the container is made',
      page(),
      () => engine.goAwayAt(/\/containers\/create/),
      /^ {7}the connection to the Docker engine broke \(creating a container\)$/,
    ],
    [
      'in the middle of a health check',
      'FROM gantry-test/base:1\nCMD ["sleep","1000"]\n',
      () => engine.goAwayAt(/\/containers\/\w+\/wait/),
      /^ {7}the Docker engine does not answer at \S+; start it: systemctl start docker$/,
    ],
  ] as const;

  test.each(breaks)(
    'breaks %s: one line says so, and the old version serves',
    async (moment, dockerfile, breakIt, expected) => {
      await using repo = await appRepository('page');
      const app = moment.replaceAll(' ', '-');
      const url = await rig.pushUrl(app);
      await repo.push(url);
      await repo.commit({ version: 'two', Dockerfile: dockerfile });
      const push = startPush(repo, url);
      await breakIt(push);
      const end = await push.result;
      expect(end.code).toBe(1);
      expect(errorBlock(end.stderr).filter((line) => !/^ +last lines:| half-way$/.test(line))).toEqual([
        expect.stringMatching(/^error: deploy #2 failed in "(build|start|health check)" after /),
        expect.stringMatching(expected),
        `hint: v1 is still serving http://${app}.localhost:${rig.httpPort}`,
        expect.stringMatching(/^hint: full log: /),
      ]);
      expect((await rig.request(app)).body).toBe('one');
    },
  );

  test('breaks after the switch: the release serves, so it is live', async () => {
    await using repo = await appRepository('page');
    const url = await rig.pushUrl('late');
    await repo.push(url);
    const commit = await repo.commit({ version: 'two' });
    engine.goAwayAt(/\/containers\/\w+\/update/);
    const push = await repo.push(url);
    expect(push.stderr).toMatch(/warning: v2 would not restart by itself: the connection to the/);
    expect(push.stderr).toMatch(/success: late v2 is live/);
    expect(push.code).toBe(0);
    expect((await rig.request('late')).body).toBe('two');
    expect((await repo.git('ls-remote', url, 'main')).stdout).toContain(commit);
  });

  test('hangs: bounded, the old version serves, and the next push works', async () => {
    await using repo = await appRepository('page');
    const url = await rig.pushUrl('hang');
    await repo.push(url);
    await repo.commit({ version: 'two' });
    engine.freeze();
    const began = performance.now();
    const push = await repo.push(url);
    expect(push.code).toBe(1);
    expect(performance.now() - began).toBeLessThan(20_000);
    expect(errorBlock(push.stderr)).toContainEqual(
      expect.stringMatching(/the Docker engine did not answer within 10 s \(.*\); is it hanging\?/),
    );
    expect((await rig.request('hang')).body).toBe('one');
    await engine.comeBack();
    expect((await repo.push(url)).stderr).toMatch(/success: hang v3 is live/);
    expect((await rig.request('hang')).body).toBe('two');
  });

  test('after all of that nothing is left behind, and what serves would come back after a reboot', async () => {
    await expectNothingLeftBehind(rig);
    const filters = { label: [`gantry.store=${await rig.storeId}`, 'gantry.app=late'] };
    const [container] = await new Docker().listContainers({ filters });
    await expect
      .poll(async () => (await new Docker().getContainer(container?.Id ?? '').inspect()).HostConfig, {
        timeout: 40_000,
      })
      .toMatchObject({ RestartPolicy: { Name: 'always' } });
  });
});

describe('Redis', () => {
  test('frozen when somebody pushes: refused at once, and everything works when it goes on', async () => {
    await using rig = await Rig.start();
    await using repo = await appRepository('page');
    const url = await rig.pushUrl('shop');
    await repo.push(url);
    await repo.commit({ version: 'two' });
    const redis = await rig.redisPid();
    process.kill(redis, 'SIGSTOP');
    const began = performance.now();
    const push = await repo.push(url);
    const took = performance.now() - began;
    const visit = await rig.request('shop');
    process.kill(redis, 'SIGCONT');
    expect(took).toBeLessThan(4000);
    expect(push.code).toBe(128);
    expect(push.stderr).toMatch(
      /remote: the deploy queue is unavailable; running apps are not affected\s+remote: hint: try again in a minute/,
    );
    expect(visit.body).toBe('one');
    const again = await repo.push(url);
    expect(again.stderr).toMatch(/success: shop v2 is live/);
    expect(again.code).toBe(0);
    await expectNothingLeftBehind(rig);
  });

  test('frozen while it is asked for a deployment: nobody knows, which is what the push says', async () => {
    using failpoints = new Failpoints();
    await using rig = await Rig.start(failpoints.env);
    rig.explainFailures();
    await using repo = await appRepository('page');
    const url = await rig.pushUrl('shop');
    failpoints.arm('before request');
    const push = repo.push(url);
    await until('it is about to ask', () => failpoints.reachedBy !== undefined);
    const redis = await rig.redisPid();
    process.kill(redis, 'SIGSTOP');
    failpoints.release();
    const end = await push;
    process.kill(redis, 'SIGCONT');
    expect(end.code).toBe(1);
    expect(end.stderr).toContain('(the deploy queue is unavailable; running apps are not affected)');
    expect(end.stderr).toContain(
      'hint: push again in a minute; should this push have been accepted all the same, that joins it',
    );
    const again = await repo.push(url);
    expect(again.code).toBe(0);
    await until('it is live', async () => (await rig.request('shop')).body === 'one');
    const { body } = await rig.api('GET', '/apps/shop/deployments');
    expect(JSON.parse(body)).toMatchObject({ deployments: [{ number: 1, state: 'live' }] });
    await expectNothingLeftBehind(rig);
  });

  test('frozen for ten seconds in the middle of a build: the deployment finishes, once', async () => {
    await using rig = await Rig.start();
    rig.explainFailures();
    await using repo = await appRepository('page', { Dockerfile: page(slowStep(12)) });
    const push = startPush(repo, await rig.pushUrl('shop'));
    await push.says('half-way');
    const redis = await rig.redisPid();
    process.kill(redis, 'SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    process.kill(redis, 'SIGCONT');
    const end = await push.result;
    expect(end.stderr.match(/success: shop v1 is live/g)).toHaveLength(1);
    expect(end.code).toBe(0);
    expect((await rig.request('shop')).body).toBe('one');
    await expectNothingLeftBehind(rig);
    const { body } = await rig.api('GET', '/apps/shop/deployments');
    expect(JSON.parse(body)).toMatchObject({ deployments: [{ number: 1, state: 'live' }] });
  });

  test('emptied, or that of another Gantry: refused with a sentence, and the apps answer', async () => {
    await using rig = await Rig.start();
    await using repo = await appRepository('page');
    await repo.push(await rig.pushUrl('shop'));
    await rig.stop();
    const storeId = await rig.storeId;
    const redis = join(rig.dataDir, 'redis');
    await rename(redis, `${redis}.kept`);
    const empty = await rig.failToStart();
    expect(empty.code).toBe(1);
    expect(empty.stderr).toBe(
      `error: Redis is empty but ${rig.dataDir}/store-id says it should not be; restore its data (or delete that file to start anew)\n`,
    );
    expect(await processesIn(rig.dataDir, 'redis-server')).toEqual([]);

    await rm(redis, { recursive: true });
    await rename(`${redis}.kept`, redis);
    await writeFile(join(rig.dataDir, 'store-id'), 'another\n');
    const foreign = await rig.failToStart();
    expect(foreign.stderr).toBe(
      `error: this Redis belongs to another Gantry (${storeId}, expected another); check GANTRY_DATA and GANTRY_REDIS_URL\n`,
    );
    expect((await rig.request('shop')).body).toBe('one');

    await writeFile(join(rig.dataDir, 'store-id'), `${storeId}\n`);
    await rig.start();
    expect((await rig.gantry('apps')).stdout).toMatch(/shop +v1 +#1 live/);
    expect((await rig.request('shop')).body).toBe('one');
  });
});

/** From the line that says what failed to the end, as the server wrote it. */
function errorBlock(stderr: string): string[] {
  const lines = stderr.split('\n').flatMap((line) => /^remote: (.*?) *$/.exec(line)?.[1] ?? []);
  return lines.slice(lines.findIndex((line) => line.startsWith('error: ')));
}
