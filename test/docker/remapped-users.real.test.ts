import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DockerodeEngine } from '../../src/docker/dockerode-engine.ts';
import type { ContainerSpec } from '../../src/domain/container.ts';
import { baseImage, ensureBaseImage, localDocker } from '../support/base-image.ts';
import { startedId, until } from './engine-run.ts';

/** The first of the 65536 users that those in the containers are outside. */
const firstUser = 200_000;

/** Bound over the files of the machine, which only this engine sees: who the users are that it maps to. */
const script = `
if ip link show docker0 >/dev/null 2>&1; then echo "this is the network of the machine" >&2; exit 1; fi
for file in passwd group; do cp "/etc/$file" "$1/$file"; done
echo "gantry-remap:x:4242:4242::/:/bin/false" >>"$1/passwd"
echo "gantry-remap:x:4242:" >>"$1/group"
for file in passwd group subuid subgid; do mount --bind "$1/$file" "/etc/$file" || exit 1; done
exec dockerd --userns-remap=gantry-remap --data-root="$1/data" --exec-root="$1/exec" --pidfile="$1/pid" \\
  --host="unix://$1/docker.sock" --bridge=none --iptables=false --ip6tables=false
`;

const network = 'gantry-test-remapped';

/** A second engine, with `userns-remap`. */
let folder: string;
let dockerd: ChildProcess;
let docker: Docker;
let engine: DockerodeEngine;
let output = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gtry-'));
  await chmod(folder, 0o755); // its users have to get at their files
  for (const file of ['subuid', 'subgid'])
    await writeFile(join(folder, file), `gantry-remap:${firstUser}:65536\n`);
  // A network of its own: an engine that starts without a default bridge removes that of the machine.
  const command = ['--net', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', folder];
  dockerd = spawn('unshare', command, { stdio: ['ignore', 'ignore', 'pipe'] });
  dockerd.stderr?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const socketPath = join(folder, 'docker.sock');
  docker = new Docker({ socketPath, host: undefined, protocol: 'http' });
  engine = new DockerodeEngine({ socketPath });
  await until(
    'an engine that remaps users',
    async () => {
      if (dockerd.exitCode !== null) throw new Error(`dockerd ended with ${dockerd.exitCode}: ${output}`);
      return (await docker.ping().catch(() => undefined)) !== undefined;
    },
    30_000,
  );
  await ensureBaseImage();
  const loading = await docker.loadImage(await localDocker().getImage(baseImage).get());
  for await (const _ of loading);
});

afterAll(async () => {
  if (dockerd.exitCode === null) {
    const ended = new Promise((resolve) => dockerd.once('exit', resolve));
    const left = (await docker.listContainers({ all: true })).map(({ Id }) => docker.getContainer(Id));
    await Promise.all(left.map((container) => container.remove({ force: true })));
    await engine.removeNetwork(network);
    dockerd.kill('SIGTERM');
    await ended;
  }
  await rm(folder, { recursive: true, force: true });
});

/** What the first line of `/proc/self/uid_map` says, and whether the socket can be used. */
async function report(name: string, change: Partial<ContainerSpec>): Promise<string[]> {
  const probe = `gantry-test-${name}`;
  const made = await docker.createContainer({
    Image: baseImage,
    Cmd: ['sh', '-c', 'awk "{print \\$2}" /proc/self/uid_map; test -w /var/run/docker.sock && echo writable'],
  });
  await made.commit({ repo: probe, tag: '1' });
  await made.remove();
  const spec: ContainerSpec = {
    name,
    image: `${probe}:1`,
    labels: {},
    env: {},
    network: 'none',
    address: '',
    pidsLimit: 100,
    ...change,
  };
  const container = startedId(await engine.startContainer(spec));
  await engine.waitForExit(container, AbortSignal.timeout(20_000));
  return engine.lastOutput(container, 5);
}

it('gives a container users of its own, but one with the Docker socket or the network of the host those of the host', async () => {
  const second = Math.floor(Math.random() * 50) + 150;
  expect(await engine.ensureNetwork(network, `10.${second}.77.0/28`, {})).toBe(true);
  const bridged = { network, address: `10.${second}.77.2` };
  expect(await report('alone', bridged)).toEqual([String(firstUser)]);
  const dockerSocket = join(folder, 'docker.sock');
  expect(await report('manager', { ...bridged, dockerSocket })).toEqual(['0', 'writable']);
  expect(await report('host', { network: 'host', address: '127.0.0.1' })).toEqual(['0']);
});
