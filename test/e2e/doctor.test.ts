import { chmod, readFile, rename } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { createServer as listen } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { baseImage, localDocker } from '../support/base-image.ts';
import { EngineProxy } from '../support/engine-proxy.ts';
import { temporaryRepository } from '../support/git.ts';
import { family } from '../support/processes.ts';
import { freePort, Rig, until } from '../support/rig.ts';

type Finding = { check: string; state: string; detail: string; fix?: string };

/** What it says about a rig with these settings, by name. */
async function examine(
  rig: Rig,
  env: Record<string, string> = {},
  ...options: string[]
): Promise<Record<string, Finding>> {
  const before = { ...rig.env };
  Object.assign(rig.env, env);
  const { stdout } = await rig.gantryHere('doctor', '--json', ...options);
  for (const name of Object.keys(env)) delete rig.env[name];
  Object.assign(rig.env, before);
  const findings = JSON.parse(stdout) as Finding[];
  for (const { state, fix } of findings) expect(state === 'ok').toBe(fix === undefined);
  return Object.fromEntries(findings.map((finding) => [finding.check, finding]));
}

describe('on a machine where nothing runs yet', () => {
  test('says for every part what there is, and how to mend what is not', async () => {
    await using rig = await Rig.make();
    const well = await rig.gantryHere('doctor');
    expect(well.stdout).toMatch(
      /^ok +hooks +bubblewrap; memory and processes are limited for the hook as a whole/m,
    );
    for (const part of [
      'git',
      'docker',
      'engine restarts',
      'redis',
      'haproxy',
      'disk',
      'clock',
      'secrets',
      'ports',
      'dns',
      'server',
    ])
      expect(well.stdout).toMatch(new RegExp(`^ok +${part} `, 'm'));
    expect(well.code).toBe(0);
    Object.assign(rig.env, { DOCKER_HOST: 'unix:///nowhere.sock', GANTRY_HOOK_USER: 'nobody-like-this' });
    const ill = await rig.gantryHere('doctor', '--json');
    const findings = JSON.parse(ill.stdout) as Finding[];
    expect(findings.filter(({ state }) => state === 'fail').map(({ check }) => check)).toEqual([
      'docker',
      'hooks',
    ]);
    expect(ill.code).toBe(1);
  });

  test('finds ports that something else has', async () => {
    await using rig = await Rig.make();
    const server = listen();
    await new Promise<void>((resolve) => server.listen(rig.httpPort, '127.0.0.1', resolve));
    const { ports } = await examine(rig);
    server.close();
    expect(ports).toMatchObject({
      state: 'fail',
      detail: `port ${rig.httpPort} is used by something else`,
      fix: `ss -ltnp "sport = :${rig.httpPort}"  or set GANTRY_HTTP_PORT`,
    });
  });

  test('finds an engine that every user may use', async () => {
    await using rig = await Rig.make();
    await using proxy = await EngineProxy.start();
    await chmod(proxy.path, 0o666);
    expect((await examine(rig, { DOCKER_HOST: proxy.dockerHost }))['engine access']).toMatchObject({
      state: 'fail',
      fix: `chmod 660 ${proxy.path}`,
    });
    await chmod(proxy.path, 0o660);
    expect((await examine(rig, { DOCKER_HOST: proxy.dockerHost }))['engine access']?.state).toBe('ok');
  });

  test('finds containers that nobody looks after, and a domain without addresses', async () => {
    await using rig = await Rig.make({ GANTRY_DOMAIN: 'apps.invalid' });
    const container = await localDocker().createContainer({
      Image: baseImage,
      Cmd: ['true'],
      Labels: { 'gantry.store': 'of-somebody-else' },
    });
    const { containers, dns } = await examine(rig);
    await container.remove();
    expect(containers).toMatchObject({ state: 'warn' });
    expect(containers?.detail).toMatch(/^\d+ of another Gantry on this engine/);
    expect(dns).toMatchObject({
      state: 'warn',
      detail: '*.apps.invalid has no address',
      fix: 'add a DNS record: *.apps.invalid A <address of this machine>',
    });
  });
});

describe('beside a server that runs', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await Rig.start();
  });
  afterAll(() => rig[Symbol.asyncDispose]());

  test('says that all is well', async () => {
    // Its worker is there a moment later.
    await until('it is ready', async () => (await fetch(`http://127.0.0.1:${rig.port}/readyz`)).ok);
    const found = await examine(rig);
    for (const check of ['server', 'ports', 'secrets', 'redis', 'url', 'proxy'])
      expect(found[check]).toMatchObject({ state: 'ok' });
    expect(found.server?.detail).toMatch(/^runs and is ready \(.*redis.*\)$/);
  });

  test('finds open doors, and a key that is gone', async () => {
    await chmod(rig.dataDir, 0o755);
    expect((await examine(rig)).secrets).toMatchObject({ state: 'fail', fix: `chmod 700 ${rig.dataDir}` });
    await chmod(rig.dataDir, 0o700);
    const token = join(rig.dataDir, 'admin-token');
    await chmod(token, 0o644);
    expect((await examine(rig)).secrets).toMatchObject({ state: 'fail', fix: `chmod 600 ${token}` });
    await chmod(token, 0o600);

    await rig.setEnv('keyed', {});
    await using repository = await temporaryRepository();
    await repository.push(await rig.pushUrl('keyed'));
    const key = join(rig.dataDir, 'keys/env.keys');
    await rename(key, `${key}.away`);
    const { secrets } = await examine(rig);
    await rename(`${key}.away`, key);
    expect(secrets).toMatchObject({ state: 'fail' });
    expect(secrets?.detail).toContain('is gone: no variable of any app can be read');
  });

  test('finds a proxy that refuses large pushes, one that holds logs back, and one that leads elsewhere', async () => {
    await using strict = await Proxy.start(rig.port, { mostBytes: 1024 ** 2 });
    const refused = await examine(rig, { GANTRY_URL: strict.url });
    expect(refused.proxy).toMatchObject({ state: 'fail', fix: 'nginx: client_max_body_size 0;' });

    await using holding = await Proxy.start(rig.port, { isBuffering: true });
    const held = await examine(rig, { GANTRY_URL: holding.url });
    expect(held.proxy).toMatchObject({ state: 'warn', fix: 'nginx: proxy_buffering off;' });

    await using plain = await Proxy.start(rig.port, {});
    expect((await examine(rig, { GANTRY_URL: plain.url })).proxy).toMatchObject({ state: 'ok' });

    const nowhere = await examine(rig, { GANTRY_URL: 'http://gantry.invalid' });
    expect(nowhere.proxy).toMatchObject({ state: 'fail' });
    expect(nowhere.url).toMatchObject({ state: 'warn' });
    expect(nowhere.url?.detail).toBe('http://gantry.invalid: tokens and code travel in the clear');

    await using other = await Rig.start();
    const wrong = await examine(rig, { GANTRY_URL: `http://127.0.0.1:${other.port}` });
    expect(wrong.proxy).toMatchObject({ state: 'warn' });
    expect(wrong.proxy?.detail).toMatch(/does not know the token of this server$/);
  });

  test('finds a proxy that cuts what is silent, when there is time for that', async () => {
    await using hasty = await Proxy.start(rig.port, { idleMs: 400 });
    const cut = await examine(rig, { GANTRY_URL: hasty.url }, '--slow');
    expect(cut.silence).toMatchObject({
      state: 'fail',
      detail: `a push that is silent for 65 s is cut on the way to ${hasty.url}`,
      fix: 'nginx: proxy_read_timeout 1h; proxy_send_timeout 1h;',
    });
    await using patient = await Proxy.start(rig.port, {});
    expect((await examine(rig, { GANTRY_URL: patient.url }, '--slow', '1')).silence?.state).toBe('ok');
    expect((await examine(rig)).silence).toBeUndefined();
    expect((await rig.gantryHere('doctor', '--slow', 'long')).code).toBe(2);
  });

  test('says what a server that is not ready lacks', async () => {
    const pid = Number(await readFile(join(rig.dataDir, 'router/haproxy.pid'), 'utf8'));
    const router = await family(pid);
    for (const each of router) process.kill(each, 'SIGSTOP');
    const { ports } = await examine(rig);
    for (const each of router) process.kill(each, 'SIGCONT');
    expect(ports).toMatchObject({ state: 'fail' });
    expect(ports?.detail).toMatch(/^the router does not answer on port \d+/);
  });
});

/** As people put before a server, with the settings that spoil a push. */
class Proxy {
  readonly #server: Server;
  readonly url: string;

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  static async start(
    to: number,
    {
      mostBytes = Number.POSITIVE_INFINITY,
      isBuffering = false,
      idleMs,
    }: { mostBytes?: number; isBuffering?: boolean; idleMs?: number },
  ): Promise<Proxy> {
    const port = await freePort();
    const answer = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
      const body = await buffer(req);
      if (body.length > mostBytes) return void res.writeHead(413).end('<h1>413</h1>');
      const { method, url: path, headers } = req;
      const onwards = request({ host: '127.0.0.1', port: to, method, path, headers }, (answered) => {
        res.writeHead(answered.statusCode ?? 502, answered.headers);
        if (idleMs !== undefined) answered.setTimeout(idleMs, () => res.destroy());
        if (isBuffering) void buffer(answered).then((all) => res.end(all));
        else answered.pipe(res);
      });
      onwards.end(body);
    };
    const server = createServer((req, res) => void answer(req, res));
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return new Proxy(server, `http://127.0.0.1:${port}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}
