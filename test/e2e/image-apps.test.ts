import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import type { GitResult } from '../support/git.ts';
import { expectNothingLeftBehind } from '../support/leftovers.ts';
import { watchingProcesses } from '../support/processes.ts';
import { type Registry, registryPassword, registryUser, startRegistry } from '../support/registry.ts';
import { digestOf, publish, serving } from '../support/registry-images.ts';
import { appRepository, freePort, Rig, until } from '../support/rig.ts';

let rig: Rig;
let open: Registry;
let closed: Registry;
beforeAll(async () => {
  [open, closed] = await Promise.all([startRegistry({ isOpen: true }), startRegistry()]);
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '10', GANTRY_KEEP_RELEASES: '4' });
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await Promise.all([open?.[Symbol.asyncDispose](), closed?.[Symbol.asyncDispose]()]);
});
beforeEach(() => rig.explainFailures());

const web = (page: string, port = 8080) => ({ page, config: { Cmd: serving(port) } });
const login = {
  GANTRY_DOCKER_PASSWORD: registryPassword,
};

function deploy(app: string, image: string, ...options: string[]): Promise<GitResult> {
  return rig.gantry('deploy', app, '--image', image, ...options);
}

async function page(app: string): Promise<string> {
  return (await rig.request(app)).body;
}

type Listed = {
  number: number;
  state: string;
  trigger: string;
  commit: string;
  image: { reference: string; digest: string | null } | null;
};

async function listed(app: string, what: 'deployments' | 'releases' = 'deployments'): Promise<Listed[]> {
  const { body } = await rig.api('GET', `/apps/${app}/${what}`);
  return (JSON.parse(body) as Record<typeof what, Listed[]>)[what];
}

describe('an image', () => {
  test('is deployed by the digest its tag has now, and listed with it', async () => {
    const digest = await publish(open.host, 'web:1', web('one'));
    const image = `${open.host}/web:1`;
    const first = await deploy('web', image);
    expect(first.stdout).toContain(`Pulling ${image}`);
    expect(first.stdout).toContain(digest);
    expect(first.stdout).toMatch(/done in .*, image \d+ MB, 2 layers/);
    expect(first.stdout).toMatch(/port 8080 -> connected/);
    expect(first.stdout).toMatch(/web v1 is live/);
    expect(first.code).toBe(0);
    expect(await page('web')).toBe('one');
    expect(await listed('web')).toMatchObject([
      { number: 1, trigger: 'image', commit: '', image: { reference: image, digest } },
    ]);
    expect(await listed('web', 'releases')).toMatchObject([{ image: { reference: image, digest } }]);
    const short = `${image}@${digest.slice(0, 19)}`;
    expect((await rig.gantry('deploys', '--app', 'web')).stdout).toContain(short);
    expect((await rig.gantry('releases', '--app', 'web')).stdout).toContain(short);
    expect((await rig.gantry('deploys', 'show', '1', '--app', 'web')).stdout).toContain(digest);
    // Nothing but our own name for it is left.
    expect(await namesFrom(open.host)).toEqual([]);
  });

  test('stays what it is when its tag moves, until it is redeployed; rollback and restart need no registry', async () => {
    const [one, image] = [await publish(open.host, 'moved:1', web('one')), `${open.host}/moved:1`];
    expect((await deploy('moved', image)).code).toBe(0);
    const two = await publish(open.host, 'moved:1', web('two'));
    expect((await rig.gantry('restart', '--app', 'moved')).code).toBe(0);
    expect(await page('moved')).toBe('one');
    // In Cloud Foundry's word.
    const redeployed = await rig.gantry('restage', 'moved');
    expect(redeployed.stdout).toContain(two);
    expect(await page('moved')).toBe('two');

    await open.stop();
    try {
      const back = await rig.gantry('rollback', '--app', 'moved');
      expect(back.stdout).toMatch(/back to v2, .*moved:1@sha256:/);
      expect(back.stdout).toMatch(/is live/);
      expect(await page('moved')).toBe('one');
      await rig.setEnv('moved', { NEW: 'yes' });
      expect((await rig.gantry('restart', 'moved')).stdout).toMatch(/restarted[^]*is live/);
      expect((await rig.gantry('ssh', 'moved', '-c', 'echo $NEW')).stdout).toBe('yes\n');
      expect((await rig.gantry('scale', '--instances', '2', '--app', 'moved')).code).toBe(0);
      expect((await rig.gantry('restart', '--app', 'moved')).stdout).toMatch(/2 instances[^]*is live/);

      const failed = await rig.gantry('redeploy', '--app', 'moved');
      expect(failed.stdout).toMatch(
        /failed in "pull"[^]*cannot pull \S+moved:1: the registry does not answer: connection refused/,
      );
      expect(failed.stdout).toMatch(/is still serving/);
      expect(failed.code).toBe(6);
      expect(await page('moved')).toBe('one');
    } finally {
      await open.resume();
    }
    const [failed] = await listed('moved');
    const again = await rig.gantry('deploys', 'retry', String(failed?.number), '--app', 'moved');
    expect(again.stdout).toContain(two);
    expect(await page('moved')).toBe('two');
    const digests = (await listed('moved')).map(({ image: from }) => from?.digest);
    expect(digests).toEqual([two, null, one, one, one, two, one, one]);
  });

  test('asked for by digest is that, whatever its tag says by now', async () => {
    const one = await publish(open.host, 'pinned:1', web('one'));
    await publish(open.host, 'pinned:1', web('two'));
    expect((await deploy('pinned', `${open.host}/pinned@${one}`)).code).toBe(0);
    expect(await page('pinned')).toBe('one');
    expect((await rig.gantry('redeploy', '--app', 'pinned')).code).toBe(0);
    expect(await page('pinned')).toBe('one');
  });

  test('may take the place of what was built from git, and the other way round', async () => {
    await publish(open.host, 'turn:1', web('an image'));
    await using repo = await appRepository('web');
    expect((await repo.push(await rig.pushUrl('turn'))).code).toBe(0);
    const built = await page('turn');
    const pulled = await deploy('turn', `${open.host}/turn:1`, '--command', 'exec httpd -f -p $PORT -h /www');
    expect(pulled.stdout).toMatch(/until now the app is built from git \(v1, /);
    expect(await page('turn')).toBe('an image');
    expect((await rig.gantry('apps', 'set', 'turn', '--command', 'default')).code).toBe(0);

    const same = await repo.push(await rig.pushUrl('turn'), 'HEAD:redeploy');
    expect(same.stderr).toMatch(
      /until now the app is the image .*turn:1@sha256:\w{12} \(v2\); from now on it is built/,
    );
    expect(same.code).toBe(0);
    expect(await page('turn')).toBe(built);
    expect((await rig.gantry('rollback', 'v2', '--app', 'turn')).code).toBe(0);
    expect(await page('turn')).toBe('an image');
    expect((await rig.gantry('apps', 'set', 'turn', '--port', '8080')).code).toBe(0);
    expect((await rig.gantry('apps', 'set', 'turn', '--command', 'default')).code).toBe(0);
    await repo.commit({ 'another-file': 'x' }, 'Another commit');
    expect((await repo.push(await rig.pushUrl('turn'))).stderr).toMatch(
      /still in force: its port[^]*is live/,
    );
    expect(await page('turn')).toBe(built);
  });

  test('and what others call it outlive the sweep of old releases; ours goes', async () => {
    const docker = localDocker();
    const app = 'kept';
    for (const version of ['1', '2', '3', '4', '5', '6']) {
      await publish(open.host, `kept:${version}`, web(version));
      expect((await deploy(app, `${open.host}/kept:${version}`)).code).toBe(0);
      if (version !== '1') continue;
      const [ours = ''] = await namesOf(app);
      await docker.getImage(ours).tag({ repo: 'gantry-test/somebodys', tag: 'own' });
    }
    await until('old images are gone', async () => (await namesOf(app)).length === 4);
    const versions = (await namesOf(app)).map((name) => Number(/:v(\d)-/.exec(name)?.[1]));
    expect(new Set(versions)).toEqual(new Set([3, 4, 5, 6]));
    await docker.getImage('gantry-test/somebodys:own').remove();
    const freed = await rig.gantry('rollback', 'v1', '--app', app);
    expect(freed.stderr).toMatch(/pull it again: gantry deploys retry 1/);
  });
});

describe('a private image', () => {
  const image = (): string => `${closed.host}/secret:1`;

  test('wants a login, which no log, image, process or store shows', async () => {
    await publish(closed.host, 'secret:1', web('for us'));
    const none = await deploy('secret', image());
    expect(none.stdout).toMatch(
      /cannot pull .*: the registry has no such image for everybody; it may want a login/,
    );
    expect(none.stdout).toContain('--username NAME');

    const wrong = await rig.gantryWith(
      'wrong\n',
      'deploy',
      'secret',
      '--image',
      image(),
      '--username',
      'ana',
    );
    expect(wrong.stdout).toMatch(/does not let ana have it, or the password is wrong/);

    const [right, commandLines] = await watchingProcesses(
      rig.gantryIn(login, 'deploy', 'secret', '--image', image(), '--username', registryUser),
    );
    expect(right.stderr).toBe('');
    expect(right.stdout).toMatch(/is live/);
    expect(await page('secret')).toBe('for us');
    // Kept for the app and its registry.
    expect((await rig.gantry('redeploy', '--app', 'secret')).stdout).toMatch(/is live/);
    const told = [
      right.stdout,
      right.stderr,
      await rig.log(),
      (await rig.gantry('audit')).stdout,
      rig.output,
    ];
    const shown = (await rig.api('GET', '/apps/secret/deployments')).body;
    for (const text of [...told, shown, commandLines, await engineOf('secret'), await redisFiles()])
      for (const secret of [registryPassword, JSON.stringify(registryPassword).slice(1, -1)])
        expect(text.includes(secret)).toBe(false);

    expect((await deploy('secret', image(), '--forget-login')).stdout).toMatch(/may want a login/);
    expect(await page('secret')).toBe('for us');
  });

  test('may use the login the app has for base images, at that registry only', async () => {
    await publish(closed.host, 'based:1', web('based'));
    const told: (string | undefined)[] = [];
    await using curious = await answering((request, response) => {
      told.push(request.headers.authorization);
      response.writeHead(401, { 'www-authenticate': 'Basic realm="tell me"' }).end();
    });
    await rig.setEnv('based', {
      CC_DOCKER_LOGIN_SERVER: closed.host,
      CC_DOCKER_LOGIN_USERNAME: registryUser,
      CC_DOCKER_LOGIN_PASSWORD: registryPassword,
    });
    expect((await deploy('based', `${curious.host}/based:1`)).stdout).toMatch(/may want a login/);
    expect(told.length).toBeGreaterThan(0);
    expect(told.filter((header) => header !== undefined)).toEqual([]);
    expect((await deploy('based', `${closed.host}/based:1`)).stdout).toMatch(/is live/);
  });
});

describe('the container', () => {
  test('listens on the lowest TCP port of the image, which PORT says whatever the image says', async () => {
    const script = 'echo "$PORT $(id -u) $PWD $FROM_IMAGE" > /tmp/index.html; exec httpd -f -p $PORT -h /tmp';
    const config = {
      Entrypoint: ['sh', '-c'],
      Cmd: [script],
      Env: ['PATH=/bin', 'PORT=1', 'FROM_IMAGE=yes'],
      ExposedPorts: { '9443/tcp': {}, '9090/tcp': {}, '53/udp': {} },
      User: '65534',
      WorkingDir: '/www',
    };
    await publish(open.host, 'ports:1', { config });
    expect((await deploy('ports', `${open.host}/ports:1`)).stdout).toMatch(/port 9090 -> connected/);
    expect(await page('ports')).toBe('9090 65534 /www yes\n');
    expect((await deploy('ports', `${open.host}/ports:1`, '--port', '7070')).stdout).toMatch(/port 7070/);
    expect(await page('ports')).toBe('7070 65534 /www yes\n');
    // It stays until it is taken back.
    expect((await rig.gantry('restart', '--app', 'ports')).stdout).toMatch(/port 7070/);
    expect((await deploy('ports', `${open.host}/ports:1`, '--port', 'default')).stdout).toMatch(/port 9090/);
  });

  test('runs a command through sh, and an image without one says so', async () => {
    await publish(open.host, 'command:1', { page: 'by command', config: {} });
    const none = await deploy('command', `${open.host}/command:1`);
    expect(none.stdout).toMatch(/failed in "pull"[^]*the image has no command to start[^]*--command/);
    const given = ['--command', 'test -n "$PORT" && exec httpd -f -p $PORT -h /www'];
    expect((await deploy('command', `${open.host}/command:1`, ...given)).stdout).toMatch(/is live/);
    expect(await page('command')).toBe('by command');

    const busybox = await readFile('/bin/busybox');
    await publish(open.host, 'bare:1', {
      files: { busybox: busybox },
      config: { Cmd: ['/busybox', 'sleep', '9'] },
    });
    const bare = await deploy('bare', `${open.host}/bare:1`, '--command', 'exec sleep 100');
    expect(bare.stdout).toMatch(/the image has no sh/);
  });

  test('is healthy as it was asked to be', async () => {
    const silent = { config: { Cmd: ['sh', '-c', 'exec sleep 1000'] } };
    await publish(open.host, 'silent:1', silent);
    const image = `${open.host}/silent:1`;
    const port = await deploy('silent', image, '--timeout', '1');
    expect(port.stdout).toMatch(/failed in "health check"[^]*nothing listens on port 8080/);
    const worker = await deploy('silent', image, '--health-check-type', 'process');
    expect(worker.stdout).toMatch(/it runs, which is all that is asked of it[^]*is live/);
    await publish(open.host, 'ends:1', { config: { Cmd: ['sh', '-c', 'echo bad luck; exit 3'] } });
    const ends = await deploy('silent', `${open.host}/ends:1`);
    expect(ends.stdout).toMatch(/it exited with code 3[^]*bad luck|bad luck[^]*it exited with code 3/);

    await publish(open.host, 'http:1', web('well'));
    const http = ['--health-check-type', 'http', '--timeout', '2'];
    const missing = await deploy('http', `${open.host}/http:1`, ...http, '--endpoint', '/missing');
    expect(missing.stdout).toMatch(/GET \/missing answered 404, not 200/);
    const found = await deploy('http', `${open.host}/http:1`, '--endpoint', '/index.html');
    expect(found.stdout).toMatch(/GET \/index.html -> 200/);
    expect((await rig.gantry('apps', 'show', 'http')).stdout).toMatch(
      /health check +http[^]*endpoint +\/index.html/,
    );
  });
});

describe('what cannot be deployed says why in a line', () => {
  test.each([
    [
      'for another processor',
      { ...web('x'), architecture: 's390x' },
      /the image is for s390x, and this server is/,
    ],
    ['without layers', { layers: 'none' as const, config: { Cmd: ['/x'] } }, /the image has no layers/],
    [
      'with UDP ports only',
      { config: { Cmd: serving(53), ExposedPorts: { '53/udp': {}, '514/udp': {} } } },
      /exposes only UDP ports \(53\/udp, 514\/udp\)/,
    ],
  ])('an image %s', async (how, image, reason) => {
    const name = `odd-${how.replaceAll(' ', '-').toLowerCase()}`;
    await publish(open.host, `${name}:1`, image);
    const failed = await deploy(name, `${open.host}/${name}:1`);
    expect(failed.stdout).toMatch(/failed in "pull"/);
    expect(failed.stdout).toMatch(reason);
    await until('it is gone', async () => (await namesOf(name)).length === 0);
  });

  test('a tag or digest that is not there', async () => {
    await publish(open.host, 'there:1', web('x'));
    for (const image of ['there:2', 'nowhere:1', `there@sha256:${'0'.repeat(64)}`])
      expect((await deploy('there', `${open.host}/${image}`)).stdout).toMatch(
        /the registry has no such image or tag/,
      );
  });

  test('a registry of API v1, nobody at all, and manifests that are broken or not what they say', async () => {
    await using old = await answering(({ url }, response) => {
      if (url === '/v1/_ping') response.writeHead(200, { 'x-docker-registry-version': '0.9' }).end('true');
      else response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>Not Found</h1>');
    });
    expect((await deploy('odd', `${old.host}/web:1`)).stdout).toMatch(/no registry of API v2 answers there/);
    expect((await deploy('odd', `127.0.0.1:${await freePort()}/web:1`)).stdout).toMatch(
      /the registry does not answer: connection refused/,
    );

    const type = 'application/vnd.docker.distribution.manifest.v2+json';
    const config = {
      mediaType: 'application/vnd.docker.container.image.v1+json',
      size: 2,
      digest: digestOf(Buffer.from('{}')),
    };
    const manifest = JSON.stringify({ schemaVersion: 2, mediaType: type, config, layers: [] });
    await using liar = await answering(({ url = '', method }, response) => {
      const body = url.includes('/garbage/') ? 'not json' : manifest;
      const digest = url.includes('/other/') ? `sha256:${'b'.repeat(64)}` : digestOf(Buffer.from(body));
      if (url === '/v2/') response.writeHead(200).end('{}');
      else if (url.includes('/manifests/')) {
        const headers = {
          'content-type': type,
          'content-length': body.length,
          'docker-content-digest': digest,
        };
        response.writeHead(200, headers).end(method === 'HEAD' ? undefined : body);
      } else response.writeHead(500).end();
    });
    for (const [name, reason] of [
      ['garbage', /the registry sent no manifest that makes sense|is not what its digest says/],
      ['other', /is not what its digest says/],
      ['no-config', /the registry answered 500|cannot pull/],
    ] as const)
      expect((await deploy('odd', `${liar.host}/${name}:1`)).stdout).toMatch(reason);
    expect(await listed('odd', 'releases')).toEqual([]);
  });

  test.each(['-v', 'a b', 'Shop:1', 'shop:', 'shop@sha256:12', 'http://x/shop', 'x'.repeat(300)])(
    'the reference "%s", which leaves no app behind',
    async (image) => {
      const refused = await rig.gantry('deploy', 'never', `--image=${image}`);
      expect(refused.code).toBe(2);
      expect(refused.stderr).toMatch(/image/);
      await rig.api('POST', '/apps', { name: 'strict' });
      const answer = await rig.api('POST', '/apps/strict/deployments', { kind: 'image', image });
      expect(answer.status).toBe(422);
      expect((await rig.api('GET', '/apps/never')).status).toBe(404);
    },
  );

  test('a port, endpoint or time that cannot be', async () => {
    for (const change of [
      { port: 0 },
      { port: 65536 },
      { port: 1.5 },
      { endpoint: 'x' },
      { startTimeout: 0 },
      { command: ' ' },
    ]) {
      const body = { kind: 'image', image: 'shop', ...change };
      expect((await rig.api('POST', '/apps/strict/deployments', body)).status).toBe(422);
    }
    expect(await listed('strict')).toEqual([]);
  });
});

test('a download that breaks off is gone on with, and the log says so', async () => {
  // Unlike any other, or the engine had it already.
  const files = { noise: randomBytes(500_000) };
  await publish(open.host, 'cut:1', { ...web('whole'), files, config: { Cmd: ['/noise'] } });
  let cuts = 0;
  await using cutting = await answering((request, response) => {
    void fetch(`http://${open.host}${request.url}`, {
      method: request.method ?? 'GET',
      headers: {
        accept: request.headers.accept ?? '*/*',
        ...(request.headers.range && { range: request.headers.range }),
      },
    }).then(async (answer) => {
      const body = Buffer.from(await answer.arrayBuffer());
      response.writeHead(answer.status, Object.fromEntries(answer.headers));
      if (body.length < 100_000 || cuts > 0)
        return response.end(request.method === 'HEAD' ? undefined : body);
      cuts += 1;
      response.write(body.subarray(0, 1000), () => response.destroy());
      return undefined;
    });
  });
  const given = ['--health-check-type', 'process', '--command', 'true'];
  const pulled = await deploy('cut', `${cutting.host}/cut:1`, ...given);
  expect(cuts).toBe(1);
  expect(pulled.stdout).toMatch(/broke a download off; it is tried again[^]*done in .*, image/);
});

test('a download can be cancelled, and another image takes its place; nothing is left', async () => {
  await publish(open.host, 'slow:1', web('slow'));
  let isAsked = false;
  await using slow = await answering((request, response) => {
    // Blobs come never.
    if (request.url?.includes('/blobs/')) {
      isAsked = true;
      return;
    }
    void fetch(`http://${open.host}${request.url}`, {
      method: request.method ?? 'GET',
      headers: { accept: request.headers.accept ?? '*/*' },
    }).then(async (answer) => {
      const body = Buffer.from(await answer.arrayBuffer());
      const headers = Object.fromEntries(answer.headers);
      response.writeHead(answer.status, headers).end(request.method === 'HEAD' ? undefined : body);
    });
  });
  const pulling = deploy('slow', `${slow.host}/slow:1`);
  await until('it is being pulled', () => isAsked);
  expect((await rig.gantry('deploys', 'cancel', '1', '--app', 'slow')).code).toBe(0);
  expect((await pulling).stdout).toMatch(/deploy #1 cancelled: by admin/);

  isAsked = false;
  const second = deploy('slow', `${slow.host}/slow:1`);
  await until('it is being pulled again', () => isAsked);
  const third = await deploy('slow', `${open.host}/slow:1`);
  expect((await second).stdout).toMatch(/superseded by #3/);
  expect(third.stdout).toMatch(/is live/);
  expect(await page('slow')).toBe('slow');
});

test('in the end only what serves and what can be gone back to is there', async () => {
  await rig.gantry('scale', '--instances', '1', '--app', 'moved');
  expect((await rig.gantry('restart', '--app', 'moved')).code).toBe(0);
  await expectNothingLeftBehind(rig);
  expect(await namesFrom('127.0.0.1:')).toEqual([]);
});

/** What the engine calls images from a registry. */
async function namesFrom(host: string): Promise<string[]> {
  const images = await localDocker().listImages();
  const names = images.flatMap(({ RepoTags, RepoDigests }) => [...(RepoTags ?? []), ...(RepoDigests ?? [])]);
  return names.filter((name) => name.startsWith(host));
}

async function namesOf(app: string): Promise<string[]> {
  return namesFrom(`gantry-${(await rig.storeId).slice(0, 6)}/${app}:`);
}

/** What the engine tells of an app's images and containers. */
async function engineOf(app: string): Promise<string> {
  const docker = localDocker();
  const names = await namesOf(app);
  const containers = await docker.listContainers({
    all: true,
    filters: { label: [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`] },
  });
  const about = await Promise.all([
    ...names.map((name) => docker.getImage(name).inspect()),
    ...containers.map(({ Id }) => docker.getContainer(Id).inspect()),
  ]);
  expect(about.length).toBeGreaterThan(1);
  return JSON.stringify(about);
}

async function redisFiles(): Promise<string> {
  const folder = `${rig.dataDir}/redis/appendonlydir`;
  const files = await readdir(folder);
  return (await Promise.all(files.map((file) => readFile(`${folder}/${file}`, 'utf8')))).join('');
}

/** Somebody on loopback who says what he wants. */
async function answering(handle: RequestListener) {
  const port = await freePort();
  const server: Server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      await new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      });
    },
  };
}
