import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Account, canDeploy, canRead } from '../../src/domain/account.ts';
import { type AppName, parseAppName } from '../../src/domain/app.ts';
import { GitEndpoint, type GitLimits, gitServerOptions } from '../../src/git/git-endpoint.ts';
import { prepareGitProcess } from '../../src/git/git-environment.ts';
import { HookSocket } from '../../src/git/hook-socket.ts';
import type { Push, ReceivePush } from '../../src/git/push.ts';
import { PushRegistry } from '../../src/git/push-registry.ts';
import { Repositories } from '../../src/git/repositories.ts';
import { createLogger } from '../../src/logger.ts';

export type GitRig = Awaited<ReturnType<typeof startGitRig>>;

export type GitRigOptions = { limits?: Partial<GitLimits>; maxPushBytes?: number };

/** The git endpoint and the hook socket behind a real http.Server; what becomes of a push is up to the test. */
export async function startGitRig({ limits, maxPushBytes = 512 * 1024 * 1024 }: GitRigOptions = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'gantry-git-'));
  const hookSocketPath = join(folder, 'hook.sock');
  const { GIT_CONFIG_GLOBAL, GANTRY_HOOK_SOCKET } = process.env;
  await prepareGitProcess({ folder: join(folder, 'git'), hookSocket: hookSocketPath, maxPushBytes });

  const repositories = new Repositories(join(folder, 'repositories'));
  const pushes = new PushRegistry();
  const apps = new Set<string>();
  const received: Push[] = [];
  const script = {
    receivePush: acceptAll as ReceivePush,
    ensureReady: async () => {},
    authenticated: () => {},
  };
  const logger = createLogger(process.env.GIT_RIG_LOG ?? 'silent', 'git');

  const hookSocket = new HookSocket({
    path: hookSocketPath,
    pushes,
    logger,
    receivePush: (push, print, signal) => {
      received.push(push);
      apps.add(push.app);
      return script.receivePush(push, print, signal);
    },
  });
  await hookSocket.listen();

  const endpoint = new GitEndpoint({
    repositories,
    pushes,
    onPushed: () => {},
    logger,
    authenticate: async (credentials) => {
      script.authenticated();
      const account = credentials && accountOf(credentials.user);
      if (credentials?.password === 'right' && account) return account;
      if (credentials?.password === 'often')
        return { status: 429, refused: 'too many attempts', hint: 'wait a minute', retryAfter: 60 };
      return { status: 401, refused: 'the token is missing or wrong', hint: 'use another' };
    },
    recordAudit: async () => {},
    addressOf: (req) => req.socket.remoteAddress ?? '',
    may: (account, name, action) => (action === 'deploy' ? canDeploy(account, name) : canRead(account, name)),
    ensureReady: () => script.ensureReady(),
    appExists: async (name) => apps.has(name),
    ...(limits && { limits }),
  });
  const server = createServer(gitServerOptions, (req, res) => {
    if (endpoint.handles(req)) return endpoint.handle(req, res);
    res.writeHead(418).end('not git');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;

  return {
    port,
    hookSocketPath,
    server,
    endpoint,
    hookSocket,
    repositories,
    pushes,
    apps,
    received,
    script,
    url: (name = 'shop', user = 'root', password = 'right') =>
      `http://${user}:${password}@127.0.0.1:${port}/${name}.git`,
    /** Sends bytes as they are and returns everything that comes back until the connection ends. */
    raw: (...parts: (string | Buffer)[]) => sendRaw(port, parts),
    request: (path: string, init: GitRequest = {}) => ask(port, path, init),
    repository: (name = 'shop') => repositories.open(appName(name)),
    /** What interrupted pushes may leave behind. */
    quarantines: async (name = 'shop') => {
      const entries = await readdir(join(repositories.path(appName(name)), 'objects'));
      return entries.filter((entry) => entry.startsWith('tmp_objdir'));
    },
    [Symbol.asyncDispose]: async () => {
      await hookSocket.close();
      await endpoint.close(0);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      // A rig inside another one's life gives the process back as it was.
      if (GIT_CONFIG_GLOBAL !== undefined)
        Object.assign(process.env, { GIT_CONFIG_GLOBAL, GANTRY_HOOK_SOCKET });
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export async function acceptAll({ updates }: Push, print: (line: string) => Promise<void>) {
  await print('-----> deployed');
  return updates.map(({ ref }) => ({ ref, status: 'ok' as const }));
}

function appName(name: string): AppName {
  return parseAppName(name) as AppName;
}

/** `root` and `user.3` may do everything, `deployer.x` deploys x, `reader.x` reads x. */
function accountOf(user: string): Account | undefined {
  const [kind, name = ''] = user.split('.');
  const tokenId = `token-of-${user}`;
  if (user === 'root' || kind === 'user') return { tokenId, name: user, scopes: ['admin'] };
  if (kind === 'deployer') return { tokenId, name: user, scopes: [`deploy:${name}`] };
  if (kind === 'reader') return { tokenId, name: user, scopes: [`read:${name}`] };
  return undefined;
}

export type GitRequest = {
  method?: string;
  /** `user:password`; empty for none. */
  user?: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
};

function ask(
  port: number,
  path: string,
  { user = 'root:right', headers, method, body }: GitRequest,
): Promise<Response> {
  const authorization = `Basic ${Buffer.from(user).toString('base64')}`;
  return fetch(`http://127.0.0.1:${port}${path}`, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: { ...(user !== '' && { Authorization: authorization }), ...headers },
    ...(body !== undefined && { body: new Uint8Array(Buffer.from(body)) }),
  });
}

/** Parts are separate packets. */
async function sendRaw(port: number, parts: (string | Buffer)[]): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  const closed = new Promise((resolve) => socket.on('close', resolve).on('error', () => {}));
  for (const part of parts) {
    await new Promise((resolve) => socket.write(part, resolve));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await closed;
  return Buffer.concat(chunks).toString('latin1');
}

/** Command lines of the git processes that the server in this process has running, hooks included. */
export function serverProcesses(root: number = process.pid): string[] {
  return descendants(root)
    .map(({ command }) => command)
    .filter((command) => /--stateless-rpc|proc-receive|index-pack|unpack-objects|--not --all/.test(command));
}

export function descendants(root: number): { pid: number; command: string }[] {
  const all = readdirSync('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return [];
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      return [{ pid: Number(entry), parent, command }];
    } catch {
      return [];
    }
  });
  const below = new Set([root]);
  for (let size = 0; size !== below.size; ) {
    size = below.size;
    for (const { pid, parent } of all) if (below.has(parent)) below.add(pid);
  }
  below.delete(root);
  return all.filter(({ pid }) => below.has(pid));
}

export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  deadlineMs = 15_000,
): Promise<T> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end)
      throw new Error(`waited ${deadlineMs} ms in vain: ${what} (last seen: ${String(value)})`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export async function untilServerIsIdle(rig: GitRig): Promise<void> {
  await until('no git process is left', () => serverProcesses().length === 0 && rig.pushes.size === 0);
}
