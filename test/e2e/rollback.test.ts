import { rename } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { appRepository, freePort, Rig, until } from '../support/rig.ts';
import { Visitors } from '../support/visitor.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '10' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

type Shown = Record<string, unknown> & { state: string; took: number };

async function deployment(of: Rig, app: string, number: number): Promise<Shown> {
  return JSON.parse((await of.api('GET', `/apps/${app}/deployments/${number}`)).body) as Shown;
}

/** An app with the releases v1, that says "one", and v2, that says "two" and has other variables. */
async function twoReleases(of: Rig, app: string, env: Record<string, string> = {}) {
  const repo = await appRepository('web');
  const url = await of.pushUrl(app);
  await of.setEnv(app, { COLOUR: 'red', ...env });
  const first = await repo.push(url);
  await repo.commit({ version: 'two' });
  await of.setEnv(app, { COLOUR: 'green' });
  const second = await repo.push(url);
  if (first.code !== 0 || second.code !== 0) throw new Error(first.stderr + second.stderr);
  return { ...repo, url };
}

async function colourOf(of: Rig, app: string): Promise<string | undefined> {
  const { body } = await of.api('GET', `/apps/${app}/env`);
  return (JSON.parse(body) as { env: Record<string, string> }).env.COLOUR;
}

/** Resolves once the log of a deployment has the text. */
async function logSays(of: Rig, app: string, number: number, text: string): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${of.port}/api/v1/apps/${app}/deployments/${number}/logs`, {
    headers: { authorization: `Bearer ${await of.token}` },
  });
  let log = '';
  for await (const chunk of response.body ?? []) {
    log += Buffer.from(chunk as Uint8Array).toString();
    if (log.includes(text)) return;
  }
  throw new Error(`not in the log: ${text}\n${log}`);
}

/** A hook that fails unless somebody listens on the port. */
function hookThatAsks(port: number): string {
  return `bash -c 'exec 3<>/dev/tcp/127.0.0.1/${port}'`;
}

async function listen(port: number): Promise<Server> {
  const server = createServer((socket) => socket.on('error', () => {}).end());
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return server;
}

const close = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));

describe('a rollback', () => {
  test('with a cached image takes seconds, and no request fails', async () => {
    await using repo = await twoReleases(rig, 'quick');
    const visitors = new Visitors(rig.httpPort, 'quick.localhost', 200);
    const began = performance.now();
    const response = await fetch(
      `http://127.0.0.1:${rig.port}/api/v1/apps/quick/releases/previous/rollback`,
      { method: 'POST', headers: { authorization: `Bearer ${await rig.token}` } },
    );
    expect(response.status).toBe(202);
    expect(response.headers.get('location')).toBe('/api/v1/apps/quick/deployments/3');
    expect(await response.json()).toEqual({ number: 3, release: 1 });
    await until('it is live', async () => (await deployment(rig, 'quick', 3)).state === 'live');
    const tookMs = performance.now() - began;
    await visitors.leave();
    console.log(`rollback under load, from request to live: ${Math.round(tookMs)} ms`);
    expect(visitors.failures).toEqual([]);
    // Answers that were on their way during the switch may overtake each other.
    expect([visitors.versions[0], visitors.versions.at(-1)]).toEqual(['two', 'one']);
    expect(tookMs).toBeLessThan(15_000);
    // The branch is where it was gone back to, and no pusher would have seen it elsewhere.
    const first = (await repo.git('rev-parse', 'HEAD~1')).stdout.trim();
    await until('the branch follows', async () =>
      (await repo.git('ls-remote', repo.url, 'main')).stdout.startsWith(first),
    );
  });

  test('needs no repository; what was rolled back can be pushed again once that is there', async () => {
    await using repo = await twoReleases(rig, 'gitless');
    const folder = `${rig.dataDir}/git/gitless.git`;
    const held = async (): Promise<string> =>
      (await repo.git('-C', folder, 'for-each-ref', 'refs/gantry')).stdout;
    await until('the deployments before are put away', async () => (await held()) === '');
    await rename(folder, `${folder}.away`);
    const rollback = await rig.gantry('rollback', '--app', 'gitless');
    await rename(`${folder}.away`, folder);
    expect(rollback.stdout).toContain('gitless v3 is live');
    expect(rollback.code).toBe(0);
    expect((await rig.request('gitless')).body).toBe('one');
    const again = await repo.push(repo.url);
    expect(again.stderr).toContain('gitless v4 is live');
    expect((await rig.request('gitless')).body).toBe('two');
  });

  test('that fails changes nothing, and can be retried', async () => {
    const port = await freePort();
    let server = await listen(port);
    await using repo = await twoReleases(rig, 'failing', { CC_PRE_RUN_HOOK: hookThatAsks(port) });
    await close(server);
    const etag = async (): Promise<string | null> => {
      const headers = { authorization: `Bearer ${await rig.token}` };
      const url = `http://127.0.0.1:${rig.port}/api/v1/apps/failing/env`;
      return (await fetch(url, { headers })).headers.get('etag');
    };
    const before = await etag();
    const rollback = await rig.gantry('rollback', '--app', 'failing');
    expect(rollback.stdout).toContain('error: deploy #3 failed in "pre-run hook"');
    expect(rollback.stdout).toContain('hint: v2 is still serving');
    expect(rollback.stdout).toContain('retry: gantry deploys retry 3 --app failing');
    expect(rollback.code).toBe(6);
    expect((await rig.request('failing')).body).toBe('two');
    expect(await colourOf(rig, 'failing')).toBe('green');
    expect(await etag()).toBe(before);
    expect((await repo.push(repo.url)).stderr).toContain('Everything up-to-date');

    server = await listen(port);
    const retry = await rig.gantry('deploys', 'retry', '#3', '--app', 'failing');
    await close(server);
    expect(retry.stdout).toContain('back to v1, ');
    expect(retry.code).toBe(0);
    expect((await rig.request('failing')).body).toBe('one');
    expect(await colourOf(rig, 'failing')).toBe('red');
    // Whoever has looked at the variables before is told that they are others now.
    expect(await etag()).not.toBe(before);
  });

  test('takes a volume away and gives it back, and keeps its data', async () => {
    await using repo = await twoReleases(rig, 'volume');
    expect(repo.path).not.toBe('');
    expect((await rig.gantry('volumes', 'add', 'volume', 'data:/data')).code).toBe(0);
    expect((await rig.gantry('restart', '--app', 'volume')).code).toBe(0);
    expect((await rig.gantry('rollback', 'v2', '--app', 'volume')).code).toBe(0);
    expect((await rig.gantry('volumes', 'list', 'volume')).stdout).toMatch(
      /data +removed, its data are still there/,
    );
    expect((await rig.gantry('rollback', '--app', 'volume')).stdout).toContain('back to v3, ');
    expect((await rig.gantry('volumes', 'list', 'volume')).stdout).toMatch(/data +\/data/);
  });

  test('gives nothing back that an administrator took away, unless an administrator asks', async () => {
    await using repo = await twoReleases(rig, 'rights');
    expect(repo.path).not.toBe('');
    expect((await rig.gantry('apps', 'set', 'rights', '--docker-socket')).code).toBe(0);
    expect((await rig.gantry('restart', '--app', 'rights')).code).toBe(0);
    expect((await rig.gantry('apps', 'set', 'rights', '--no-docker-socket')).code).toBe(0);
    expect((await rig.gantry('restart', '--app', 'rights')).code).toBe(0);
    const ask = async (token: string): Promise<{ status: number; body: unknown }> => {
      const url = `http://127.0.0.1:${rig.port}/api/v1/apps/rights/releases/v3/rollback`;
      const response = await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
      return { status: response.status, body: await response.json() };
    };
    expect((await ask(await rig.createToken('reader', ['read:rights']))).status).toBe(403);
    expect(await ask(await rig.createToken('ci', ['deploy:rights']))).toMatchObject({
      status: 403,
      body: {
        detail: 'v3 had the Docker socket, which rights may not have now',
        hint: 'an administrator can roll back to it',
      },
    });
    expect((await ask(await rig.token)).status).toBe(202);
    expect((await rig.gantry('logs', '--app', 'rights')).stdout).toContain('rights v5 is live');
    expect((await rig.gantry('apps', 'show', 'rights')).stdout).toMatch(/docker socket +allowed/);
  });
});

describe('the command line', () => {
  test('ends with 8 when the server goes away, and says that the deployment goes on', async () => {
    await using own = await Rig.start();
    await using repo = await twoReleases(own, 'left', { CC_PRE_RUN_HOOK: 'sleep 3' });
    expect(repo.path).not.toBe('');
    const following = own.gantry('rollback', '--app', 'left');
    await until('it runs', async () => (await deployment(own, 'left', 3)).state === 'running');
    await logSays(own, 'left', 3, 'Pre-run hook');
    await own.crash();
    const { code, stderr } = await following;
    expect(stderr).toBe(
      'error: the connection to the server broke; deploy #3 goes on\nhint: gantry logs --app left --deploy 3\n',
    );
    expect(code).toBe(8);
    await own.start();
    const log = await own.gantry('logs', '--app', 'left', '--deploy', '3');
    expect(log.stdout).toContain('left v3 is live');
    expect(log.code).toBe(0);
    expect(await colourOf(own, 'left')).toBe('red');

    const cancel = await own.gantry('deploys', 'cancel', '3', '--app', 'left');
    expect(cancel.stderr).toContain(
      'hint: too late for that: gantry rollback brings the release before back',
    );
    expect(cancel.code).toBe(5);
  });
});

describe('a rollback beside a push', () => {
  test('that still builds supersedes it, and the pusher is told by whom', async () => {
    await using repo = await twoReleases(rig, 'beside');
    await rig.setEnv('beside', { CC_PRE_BUILD_HOOK: 'sleep 100' });
    await repo.commit({ version: 'three' });
    const push = repo.push(repo.url);
    await until('the push builds', async () => (await deployment(rig, 'beside', 3)).state === 'running');
    expect((await rig.gantry('rollback', '--app', 'beside')).stdout).toContain('beside v4 is live');
    const { code, stderr } = await push;
    expect(code).toBe(1);
    expect(stderr).toContain('error: deploy #3 superseded by #4');
    expect(stderr).toContain(
      'hint: #4 is a rollback to v1 by admin: push again once that is not wanted any more',
    );
    expect((await rig.request('beside')).body).toBe('one');
    // The hook was never in force: it waits for the next deployment.
    const { body } = await rig.api('GET', '/apps/beside/env');
    expect(JSON.parse(body)).toEqual({ env: { COLOUR: 'red', CC_PRE_BUILD_HOOK: 'sleep 100' } });
  });

  test('waits for it where pushes are not cancelled', async () => {
    await using patient = await Rig.start({ GANTRY_CANCEL_ON_PUSH: 'false' });
    await using repo = await twoReleases(patient, 'patient');
    await patient.setEnv('patient', { CC_PRE_BUILD_HOOK: 'sleep 2' });
    await repo.commit({ version: 'three' });
    const push = repo.push(repo.url);
    await until('the push builds', async () => (await deployment(patient, 'patient', 3)).state === 'running');
    expect((await patient.gantry('rollback', '--app', 'patient')).stdout).toContain('patient v4 is live');
    expect((await push).stderr).toContain('patient v3 is live');
    expect((await patient.request('patient')).body).toBe('one');
    // What was live in between was pushed, and can be pushed again.
    expect((await repo.push(repo.url)).stderr).toContain('patient v5 is live');
  });
});

describe('a worker that dies during a rollback', () => {
  test.each(['nothing is built', 'Starting v3', 'Switching traffic'])(
    'after "%s" loses nothing',
    async (text) => {
      const app = `dies-${text.slice(0, 2).toLowerCase()}`;
      await using repo = await twoReleases(rig, app, { CC_PRE_RUN_HOOK: 'sleep 0.5' });
      const visitors = new Visitors(rig.httpPort, `${app}.localhost`, 50);
      expect((await rig.gantry('rollback', '--app', app, '--detach')).stdout).toBe('deploy #3 is queued\n');
      await logSays(rig, app, 3, text);
      process.kill(await rig.workerPid(), 'SIGKILL');
      await until('it is live', async () => (await deployment(rig, app, 3)).state === 'live', 60_000);
      await visitors.leave();
      expect(visitors.failures).toEqual([]);
      expect((await rig.request(app)).body).toBe('one');
      expect(await colourOf(rig, app)).toBe('red');
      expect((await repo.push(repo.url)).stderr).toContain(`${app} v4 is live`);
    },
  );

  test('leaves nothing behind', async () => {
    expect((await rig.api('GET', '/status')).status).toBe(200);
    await expectNothingLeftBehind(rig);
  });
});
