import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { type ClientHttp2Session, connect } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type BuildSession, openBuildSession } from '../../src/docker/build-session.ts';
import { EngineClient } from '../../src/docker/engine-client.ts';
import { readFields, writeField } from '../../src/docker/protobuf.ts';
import type { RegistryLogin } from '../../src/domain/registry-login.ts';

const healthCheck = '/grpc.health.v1.Health/Check';
const getSecret = '/moby.buildkit.secrets.v1.Secrets/GetSecret';
const credentialsOf = '/moby.filesync.v1.Auth/Credentials';

let folder: string;
let engine: Server;
let client: EngineClient;
/** The engine's end of the session, once it is open. */
let upgraded: Promise<{ socket: Duplex; headers: NodeJS.Dict<string | string[]> }>;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gantry-session-'));
  const socketPath = join(folder, 'engine.sock');
  engine = createServer();
  upgraded = new Promise((resolve) => {
    engine.on('upgrade', ({ headers }, socket: Duplex) => {
      socket.on('error', () => undefined);
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n');
      resolve({ socket, headers });
    });
  });
  await new Promise<void>((resolve) => engine.listen(socketPath, resolve));
  client = new EngineClient(socketPath);
});

afterEach(async () => {
  engine.closeAllConnections();
  engine.close();
  await rm(folder, { recursive: true, force: true });
});

function open(secrets: Record<string, string>, credentials?: RegistryLogin): BuildSession {
  return openBuildSession(client, { secrets, credentials });
}

async function asBuildkit(): Promise<ClientHttp2Session> {
  const { socket } = await upgraded;
  return connect('http://session', { createConnection: () => socket }).on('error', () => undefined);
}

/** One call as BuildKit makes it, with one text in field 1. */
async function ask(buildkit: ClientHttp2Session, path: string, text: string) {
  const message = text === '' ? Buffer.alloc(0) : Buffer.from(writeField(1, Buffer.from(text)));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  const stream = buildkit.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' });
  const verdict: Record<string, unknown> = {};
  stream.on('response', (headers) => Object.assign(verdict, headers));
  stream.on('trailers', (headers) => Object.assign(verdict, headers));
  stream.end(Buffer.concat([head, message]));
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  const body = Buffer.concat(chunks).subarray(5);
  const fields = [...readFields(body)].map(({ value }) =>
    typeof value === 'bigint' ? Number(value) : Buffer.from(value).toString(),
  );
  return { status: Number(verdict['grpc-status']), fields };
}

const login = { host: 'docker.io', username: 'ana', password: 'secret' };

it('says which methods it has, and that it is well', async () => {
  using session = open({});
  const { headers } = await upgraded;
  expect(headers['x-docker-expose-session-uuid']).toBe(session.id);
  for (const method of [healthCheck, getSecret, credentialsOf]) {
    expect(headers['x-docker-expose-session-grpc-method']).toContain(method);
  }
  expect(await ask(await asBuildkit(), healthCheck, '')).toEqual({ status: 0, fields: [1] });
});

it('has no method besides', async () => {
  using _session = open({});
  expect(await ask(await asBuildkit(), '/moby.filesync.v1.FileSync/DiffCopy', '')).toMatchObject({
    status: 12,
  });
});

it('gives a secret by its name, and remembers the ones it has not', async () => {
  using session = open({ KEY: 'two\nlines', EMPTY: '' });
  const buildkit = await asBuildkit();
  expect(await ask(buildkit, getSecret, 'KEY')).toEqual({ status: 0, fields: ['two\nlines'] });
  expect(await ask(buildkit, getSecret, 'EMPTY')).toEqual({ status: 0, fields: [''] });
  for (const name of ['OTHER', 'constructor', '__proto__', '']) {
    expect(await ask(buildkit, getSecret, name)).toEqual({ status: 5, fields: [] });
  }
  expect([...session.missing]).toEqual(['OTHER', 'constructor', '__proto__', '']);
});

it('gives the login of Docker Hub to Docker Hub, and nothing to anybody else', async () => {
  using _session = open({}, login);
  const buildkit = await asBuildkit();
  expect(await ask(buildkit, credentialsOf, 'registry-1.docker.io')).toEqual({
    status: 0,
    fields: ['ana', 'secret'],
  });
  for (const host of ['evil.example', 'registry-1.docker.io.evil.example', 'registry-1.docker.io:81', '']) {
    expect(await ask(buildkit, credentialsOf, host)).toEqual({ status: 0, fields: [] });
  }
});

it('ends its connection when it is closed, even while it opens', async () => {
  open({})[Symbol.dispose]();
  const session = open({});
  const { socket } = await upgraded;
  const closed = new Promise((resolve) => socket.on('close', resolve));
  await ask(await asBuildkit(), healthCheck, '');
  session[Symbol.dispose]();
  await closed;
  expect(session.failure()).toBeUndefined();
});

it('keeps for later why it could not be opened', async () => {
  engine.removeAllListeners('upgrade');
  engine.on('request', (_request, response) => response.writeHead(403).end('{"message":"no sessions here"}'));
  using session = open({});
  await expect
    .poll(() => session.failure())
    .toMatchObject({ message: expect.stringContaining('no sessions here') });
});
