import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { gitClient, type TestFiles, temporaryRepository } from './git.ts';
import { freePort, Rig, until } from './rig.ts';

const run = promisify(execFile);

/** git over https on loopback, as a forge has it, with a certificate of its own. */
export type Forge = {
  url: string;
  port: number;
  caFile: string;
  /** What it was asked for, as method and path. */
  requests: string[];
  /** What its API was told, which answers 201 or as `apiAnswer` says. */
  told: { path: string; headers: IncomingHttpHeaders; body: Record<string, unknown> }[];
  apiAnswer: { status: number; body: string };
  /** A repository with one commit of these files. */
  add(name: string, files: TestFiles): Promise<{ commit: string; path: string }>;
  /** Makes whoever asks wait; returns what lets them go on. */
  hold(): () => void;
  [Symbol.asyncDispose]: () => Promise<void>;
};

/** A Gantry that fetches from it. */
export function startRigOf(forge: Forge, env: Record<string, string> = {}): Promise<Rig> {
  return Rig.start({
    GANTRY_HEALTH_TIMEOUT: '20',
    GANTRY_ALLOW_INTERNAL_ADDRESSES: '127.0.0.0/8',
    GANTRY_GIT_CA_FILE: forge.caFile,
    ...env,
  });
}

export const forgeLogin = { user: 'ana', password: 'the-forge-password' };

/** `/moved/…` redirects, `/private/…` wants the login, everything else is for all. */
export async function startForge(): Promise<Forge> {
  const dir = await mkdtemp(join(tmpdir(), 'gantry-forge-'));
  const [keyFile, caFile] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
  const names = 'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:forge.invalid';
  const subject = ['-subj', '/CN=localhost', '-addext', names, '-days', '2'];
  await run('openssl', [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    keyFile,
    '-out',
    caFile,
    ...subject,
  ]);
  const repositories = join(dir, 'git');
  await mkdir(repositories);
  const requests: string[] = [];
  let held: Promise<void> = Promise.resolve();
  const server = createServer({ key: await readFile(keyFile), cert: await readFile(caFile) }, (req, res) => {
    void held.then(() => answer(req, res));
  });
  const answer = (req: IncomingMessage, res: ServerResponse): void => {
    const url = new URL(req.url ?? '/', 'https://localhost');
    requests.push(`${req.method} ${url.pathname}`);
    if (/^\/(?:api|rest)\//.test(url.pathname)) {
      void text(req).then((body) => {
        const path = req.url ?? '';
        forge.told.push({ path, headers: req.headers, body: JSON.parse(body) as Record<string, unknown> });
        res.writeHead(forge.apiAnswer.status).end(forge.apiAnswer.body);
      });
      return;
    }
    if (url.pathname.startsWith('/moved/')) {
      res.writeHead(302, { location: `${url.pathname.slice('/moved'.length)}${url.search}` }).end();
      return;
    }
    const login = `Basic ${Buffer.from(`${forgeLogin.user}:${forgeLogin.password}`).toString('base64')}`;
    if (url.pathname.startsWith('/private/') && req.headers.authorization !== login) {
      res.writeHead(401, { 'www-authenticate': 'Basic realm="forge"' }).end();
      return;
    }
    backend(repositories, url, req, res);
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const forge: Forge = {
    url: `https://127.0.0.1:${port}`,
    port,
    caFile,
    requests,
    told: [],
    apiAnswer: { status: 201, body: '{}' },
    add: async (name, files) => addRepository(join(repositories, name), files),
    hold: () => {
      let release = (): void => {};
      held = new Promise((resolve) => {
        release = resolve;
      });
      return release;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(dir, { recursive: true, force: true });
    },
  };
  return forge;
}

async function addRepository(path: string, files: TestFiles): Promise<{ commit: string; path: string }> {
  await using work = await temporaryRepository(files);
  await gitClient().run(['clone', '--quiet', '--bare', work.path, path]);
  const { stdout } = await work.git('rev-parse', 'HEAD');
  return { commit: stdout.trim(), path };
}

/** git's own CGI program does the work. */
function backend(root: string, url: URL, req: IncomingMessage, res: ServerResponse): void {
  const child = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env.PATH ?? '/usr/bin:/bin',
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'safe.directory',
      GIT_CONFIG_VALUE_0: '*',
      PATH_INFO: url.pathname.replace('/private/', '/'),
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: req.method ?? 'GET',
      CONTENT_TYPE: req.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: String(req.headers['content-encoding'] ?? ''),
      GIT_PROTOCOL: String(req.headers['git-protocol'] ?? ''),
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  req.pipe(child.stdin);
  child.stdin.on('error', () => {});
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.on('close', () => {
    const all = Buffer.concat(chunks);
    const end = all.indexOf('\r\n\r\n');
    const head = all.subarray(0, end).toString('latin1').split('\r\n');
    for (const line of head) {
      const colon = line.indexOf(': ');
      if (line.startsWith('Status:')) res.statusCode = Number.parseInt(line.slice(8), 10);
      else res.setHeader(line.slice(0, colon), line.slice(colon + 2));
    }
    res.end(all.subarray(end + 4));
  });
}

/** A real sshd on loopback that lets one key in. */
export async function startSshd() {
  const dir = await mkdtemp(join(tmpdir(), 'gantry-sshd-'));
  const port = await freePort();
  const path = (name: string): string => join(dir, name);
  for (const name of ['host', 'client', 'stranger'])
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', path(name)]);
  await writeFile(path('authorized'), await readFile(path('client.pub')), { mode: 0o600 });
  await mkdir('/run/sshd', { recursive: true });
  const config = [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${path('host')}`,
    `AuthorizedKeysFile ${path('authorized')}`,
    `PidFile ${path('pid')}`,
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'PermitRootLogin prohibit-password',
    '',
  ];
  await writeFile(path('config'), config.join('\n'));
  const start = () => spawn('/usr/sbin/sshd', ['-D', '-e', '-f', path('config')], { stdio: 'ignore' });
  let child = start();
  const answers = () =>
    until(
      'sshd answers',
      () =>
        new Promise<boolean>((resolve) => {
          const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
          socket.on('connect', () => socket.destroy());
        }),
    );
  const stop = async (): Promise<void> => {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill();
    await gone;
  };
  await answers();
  return {
    key: await readFile(path('client'), 'utf8'),
    strangersKey: await readFile(path('stranger'), 'utf8'),
    add: async (name: string, files: TestFiles) => {
      const added = await addRepository(path(`${name}.git`), files);
      return { ...added, url: `ssh://${userInfo().username}@127.0.0.1:${port}${added.path}` };
    },
    /** The same place with another host key, as an impostor would have it. */
    changeHostKey: async () => {
      await stop();
      await rm(path('host'));
      await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', path('host')]);
      child = start();
      await answers();
    },
    [Symbol.asyncDispose]: async () => {
      await stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
