import { randomUUID } from 'node:crypto';
import type { Duplex, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { labels } from '../domain/container.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import { OutputLines } from './container-output.ts';
import type { GateSpec, GateState } from './engine.ts';
import type { EngineClient, RawRequest } from './engine-client.ts';
import { removeContainer } from './remove-container.ts';
import { keptPolicy } from './restart-policy.ts';

const startTimeoutMs = 60_000;
const answerTimeoutMs = 5_000;
const memoryBytes = 256 * 1024 ** 2;

/** Throws when it does not come to run; nothing is left of it then. */
export async function startGate(client: EngineClient, spec: GateSpec): Promise<string> {
  const options: RawRequest = {
    _query: { name: spec.name },
    _body: {
      Image: spec.image,
      Labels: spec.labels,
      User: '65534:65534',
      Entrypoint: spec.command.slice(0, 1),
      Cmd: spec.command.slice(1),
      OpenStdin: true,
      HostConfig: {
        Init: true,
        Memory: memoryBytes,
        MemorySwap: memoryBytes,
        PidsLimit: 64,
        CapDrop: ['ALL'],
        SecurityOpt: ['no-new-privileges'],
        // It stands in the networks of several apps; what is not handed on by its program does not pass.
        Sysctls: { 'net.ipv4.ip_forward': '0', 'net.ipv4.ip_unprivileged_port_start': '0' },
        LogConfig: { Type: 'none', Config: {} },
        RestartPolicy: { Name: keptPolicy },
        NetworkMode: spec.network,
      },
      NetworkingConfig: {
        EndpointsConfig: { [spec.network]: { IPAMConfig: { IPv4Address: spec.address } } },
      },
    },
  };
  const { id } = await client.call('creating a container', (docker, abortSignal) =>
    docker.createContainer({ ...options, abortSignal }),
  );
  try {
    await client.call(
      'starting a container',
      (docker, abortSignal) => docker.getContainer(id).start({ abortSignal }),
      startTimeoutMs,
    );
    return id;
  } catch (error) {
    await removeContainer(client, id);
    throw error;
  }
}

/** Says a line to its standard input and resolves with what it answers. */
export async function tellGate(client: EngineClient, container: string, line: string): Promise<string> {
  const stream = (await client.call('attaching to a container', (docker) =>
    docker.getContainer(container).attach({ stream: true, stdin: true, stdout: true, hijack: true }),
  )) as Duplex;
  const id = randomUUID();
  const lines = new OutputLines();
  try {
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('a gate does not answer')), answerTimeoutMs);
      stream.on('error', reject);
      stream.on('close', () => {
        clearTimeout(timer);
        reject(new Error('a gate has ended'));
      });
      stream.on('data', (chunk: Buffer) => {
        const answer = lines.push(chunk).find((said) => said.startsWith(`${id} `));
        if (answer !== undefined) resolve(answer.slice(id.length + 1));
      });
      stream.write(`${id} ${line}\n`);
    });
  } finally {
    stream.destroy();
  }
}

const importTimeoutMs = 300_000;

/** Makes an image of one layer. */
export async function importImage(client: EngineClient, tag: string, tar: Readable): Promise<void> {
  const answer = await client.dial('importing an image', {
    method: 'POST',
    path: '/images/create?',
    query: {
      fromSrc: '-',
      repo: tag.slice(0, tag.lastIndexOf(':')),
      tag: tag.slice(tag.lastIndexOf(':') + 1),
    },
    body: tar,
    headers: { 'Content-Type': 'application/x-tar' },
    signal: timeoutSignal(importTimeoutMs),
  });
  const said = await text(answer);
  if (/"error/.test(said)) throw new Error(`could not import the image ${tag}: ${said.slice(0, 300)}`);
}

/** Gates that have a label as well. */
export async function listGates(client: EngineClient, label: string): Promise<GateState[]> {
  const listed = await client.call('listing containers', (docker, abortSignal) =>
    docker.listContainers({ all: true, filters: { label: [label, labels.gate] }, abortSignal }),
  );
  return listed.map(({ Id, Labels, State, NetworkSettings }) => ({
    id: Id,
    labels: Labels,
    running: State === 'running',
    networks: Object.keys(NetworkSettings.Networks),
  }));
}
