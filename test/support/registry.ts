import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, request, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { baseImage, localDocker } from './base-image.ts';
import type { OwnEngine } from './own-engine.ts';
import { innerPid } from './processes.ts';
import { freePort, until } from './rig.ts';

/** The one account of every test registry. The password has what a URL, a header and a shell would stumble over. */
export const registryUser = 'robot$puller';
export const registryPassword = 'colon: quote" space ~~>>??ü';
/** bcrypt of it, so that no htpasswd command is needed. */
const passwordHash = '$2b$04$yZ2yPQkFapTF9/njLX3x.eTalq29HGDLRI8vtckxFI/GSsNjqLmXu';

/** A docker-registry with basic authentication on loopback, where the engine does not insist on https. */
export type Registry = {
  host: string;
  /** Puts the base image there under a name of its own; the engine knows nothing of it afterwards. */
  push(name: string): Promise<string>;
  /** Ends it, as a crash does; nobody answers until it is resumed. */
  stop(): Promise<void>;
  resume(): Promise<void>;
  /** Starts it anew, so that it tells somebody what is pushed and pulled. */
  notify(url: string, authorization: string): Promise<void>;
  [Symbol.asyncDispose]: () => Promise<void>;
};

/** `isOpen`: anybody may read and write. With an engine of its own it runs on the machine that is that engine's. */
export async function startRegistry({
  isOpen = false,
  engine,
}: {
  isOpen?: boolean;
  engine?: OwnEngine;
} = {}): Promise<Registry> {
  const dir = await mkdtemp(join(tmpdir(), 'gantry-registry-'));
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  await engine?.open(port);
  await writeFile(join(dir, 'users'), `${registryUser}:${passwordHash}\n`);
  const config = [
    'version: 0.1',
    'log: {level: error, accesslog: {disabled: true}}',
    `storage: {filesystem: {rootdirectory: ${dir}/data}}`,
    `http: {addr: "${host}"}`,
    ...(isOpen ? [] : [`auth: {htpasswd: {realm: test, path: ${dir}/users}}`]),
  ];
  await writeFile(join(dir, 'config.yml'), `${config.join('\n')}\n`);
  const serve = async (): Promise<ChildProcess> => {
    const command = [...(engine?.inside(dir) ?? []), 'docker-registry', 'serve', join(dir, 'config.yml')];
    const started = spawn(command[0] ?? '', command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const output of [started.stdout, started.stderr])
      output.on('data', (chunk: Buffer) => (said += String(chunk)));
    started.on('error', (error) => (said += String(error)));
    await until('the registry answers', async () => {
      if (started.exitCode !== null || started.pid === undefined)
        throw new Error(`docker-registry ended: ${said}`);
      const answer = await fetch(`http://${host}/v2/`).catch(() => undefined);
      return answer?.status === (isOpen ? 200 : 401);
    });
    return started;
  };
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    process.kill(engine ? innerPid(child) : (child.pid ?? 0), 'SIGKILL');
    await exited;
  };
  let child = await serve();

  const docker = engine?.docker ?? localDocker();
  return {
    host,
    async push(name) {
      const reference = `${host}/${name}:1`;
      await docker.getImage(baseImage).tag({ repo: `${host}/${name}`, tag: '1' });
      const authconfig = { username: registryUser, password: registryPassword, serveraddress: host };
      const answer = await docker.getImage(reference).push({ authconfig });
      let pushed = '';
      for await (const chunk of answer) pushed += String(chunk);
      if (pushed.includes('"error"')) throw new Error(`could not push ${reference}: ${pushed}`);
      await docker.getImage(reference).remove();
      return reference;
    },
    stop,
    async resume() {
      child = await serve();
    },
    async notify(url, authorization) {
      const endpoint = `{name: test, url: "${url}", headers: {Authorization: ["${authorization}"]}, timeout: 5s, threshold: 3, backoff: 1s}`;
      const lines = [...config, `notifications: {endpoints: [${endpoint}]}`, ''];
      await writeFile(join(dir, 'config.yml'), lines.join('\n'));
      await stop();
      child = await serve();
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await removePulled(host, docker);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** A registry that only wants to know what it is told: every request asks for a login, and none is ever right. */
export type CuriousRegistry = {
  host: string;
  requests: { path: string; authorization: string | undefined }[];
  [Symbol.asyncDispose]: () => Promise<void>;
};

/** `basic` asks for a password; `bearer` for a token, which is had with a password from `/token`, as at Docker Hub. */
export async function startCuriousRegistry(scheme: 'basic' | 'bearer'): Promise<CuriousRegistry> {
  const requests: CuriousRegistry['requests'] = [];
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const challenge =
    scheme === 'basic' ? 'Basic realm="tell me"' : `Bearer realm="http://${host}/token",service="tell-me"`;
  const server = await listen(port, (request, response) => {
    requests.push({ path: request.url ?? '', authorization: request.headers.authorization });
    response.writeHead(401, {
      'www-authenticate': challenge,
      'docker-distribution-api-version': 'registry/2.0',
    });
    response.end();
  });
  return { host, requests, [Symbol.asyncDispose]: () => close(server) };
}

/** Everything of another registry for everybody, but only with a token, as Docker Hub gives out its public images. */
export async function startTokenRegistry(
  behind: Registry,
): Promise<{ host: string; [Symbol.asyncDispose]: () => Promise<void> }> {
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const authorization = `Basic ${Buffer.from(`${registryUser}:${registryPassword}`).toString('base64')}`;
  const server = await listen(port, ({ url = '', method, headers }, response) => {
    if (url.startsWith('/token')) {
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"token":"for-everybody"}');
    } else if (headers.authorization === 'Bearer for-everybody') {
      const { accept = '*/*' } = headers;
      const forwarded = request(
        `http://${behind.host}${url}`,
        { method, headers: { accept, authorization } },
        (answer) => {
          response.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(response);
        },
      );
      forwarded.on('error', () => response.destroy()).end();
    } else {
      const challenge = `Bearer realm="http://${host}/token",service="everybody"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    }
  });
  return {
    host,
    [Symbol.asyncDispose]: async () => {
      await close(server);
      await removePulled(host);
    },
  };
}

async function listen(port: number, handle: RequestListener): Promise<Server> {
  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return server;
}

async function close(server: Server): Promise<void> {
  await new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
}

/** The legacy builder keeps what it pulled under the name it pulled. */
async function removePulled(host: string, docker = localDocker()): Promise<void> {
  for (const { RepoTags } of await docker.listImages()) {
    for (const tag of RepoTags ?? []) {
      if (tag.startsWith(`${host}/`)) await docker.getImage(tag).remove({ noprune: true });
    }
  }
}
