import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DockerodeEngine } from '../../src/docker/dockerode-engine.ts';
import { EngineClient } from '../../src/docker/engine-client.ts';

let folder: string;
let server: Server | undefined;
const socketPath = (): string => join(folder, 'engine.sock');

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gantry-engine-'));
});

afterEach(async () => {
  server?.close();
  server = undefined;
  await rm(folder, { recursive: true, force: true });
});

/** An engine that answers every connection with these bytes, and nothing more. */
async function engineSaying(answer: string): Promise<EngineClient> {
  server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.write(answer));
  });
  await new Promise<void>((resolve) => server?.listen(socketPath(), resolve));
  return new EngineClient(socketPath());
}

const version = (client: EngineClient, timeoutMs: number): Promise<unknown> =>
  client.call('asking for its version', (docker) => docker.version(), timeoutMs);

it('says so when no engine is there, whatever DOCKER_HOST says', async () => {
  const before = process.env.DOCKER_HOST;
  process.env.DOCKER_HOST = 'tcp://127.0.0.1:1';
  try {
    await expect(new DockerodeEngine({ socketPath: socketPath() }).check()).rejects.toThrow(
      `the Docker engine does not answer at ${socketPath()}; start it: systemctl start docker`,
    );
  } finally {
    if (before === undefined) delete process.env.DOCKER_HOST;
    else process.env.DOCKER_HOST = before;
  }
});

it.each([
  ['accepts and says nothing', ''],
  ['stops in the middle of its answer', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"Version'],
])('does not wait for ever for an engine that %s', async (_, answer) => {
  const client = await engineSaying(answer);
  await expect(version(client, 50)).rejects.toThrow('did not answer within 0.05 s (asking for its version)');
});

it('refuses an engine that is too old', async () => {
  const body = JSON.stringify({ Version: '19.03.1', ApiVersion: '1.40' });
  await engineSaying(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  await expect(new DockerodeEngine({ socketPath: socketPath() }).check()).rejects.toThrow(
    'the Docker engine 19.03.1 is too old: its API is 1.40, at least 1.41 is needed',
  );
});

it('gives a refusal of the engine as an answer, in its own words', async () => {
  const body = JSON.stringify({ message: 'No such container: web\nreally' });
  const client = await engineSaying(
    `HTTP/1.1 404 Not Found\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  const asked = await client.ask('inspecting', (docker) => docker.getContainer('web').inspect());
  expect(asked).toEqual({ ok: false, refusal: { status: 404, message: 'No such container: web really' } });
});
