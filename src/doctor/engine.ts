import { stat } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Config } from '../config.ts';
import type { DockerodeEngine, EngineFacts } from '../docker/dockerode-engine.ts';
import { reachableContainers } from '../docker/neighbours.ts';
import { labels } from '../domain/container.ts';
import { messageOf } from '../errors.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

export async function engineFindings(config: Config, engine: DockerodeEngine): Promise<Finding[]> {
  try {
    const version = await engine.check();
    const facts = await engine.facts();
    const reachable = await reachableContainers();
    return [
      ok('docker', `engine ${version} at ${config.dockerSocket}, storage ${facts.storageDriver}`),
      restartFinding(facts),
      limitsFinding(facts),
      ...(reachable === undefined ? [] : [neighboursFinding(facts.runningContainers, reachable)]),
      await exposureFinding(config),
    ];
  } catch (error) {
    const detail = messageOf(error);
    const fix = /EACCES|permission/i.test(detail)
      ? 'sudo usermod -aG docker $(id -un)  and log in again'
      : 'systemctl start docker  (or: apt-get install docker.io; DOCKER_HOST for another socket)';
    return [fail('docker', detail, fix)];
  }
}

/** A default of Docker that many machines have, so not worth a warning. */
function restartFinding({ hasLiveRestore }: EngineFacts): Finding {
  return ok(
    'engine restarts',
    hasLiveRestore
      ? 'apps go on meanwhile (live-restore)'
      : 'apps end with it, and come back; with "live-restore": true in /etc/docker/daemon.json they go on',
  );
}

/** An app that may use all memory takes the machine with it. */
function limitsFinding({ canLimitMemory, canLimitSwap }: EngineFacts): Finding {
  if (!canLimitMemory)
    return warn(
      'limits',
      'the engine cannot limit the memory of containers',
      'boot with the kernel parameter cgroup_enable=memory',
    );
  return canLimitSwap
    ? ok('limits', 'memory and swap of containers are limited')
    : warn(
        'limits',
        'containers over their memory are not killed but swap',
        'boot with the kernel parameter swapaccount=1, or swapoff -a',
      );
}

/** Whoever can talk to the engine is root on this machine. */
async function exposureFinding(config: Config): Promise<Finding> {
  const { mode } = await stat(config.dockerSocket);
  if ((mode & 0o002) !== 0)
    return fail(
      'engine access',
      `every user of this machine may use ${config.dockerSocket}, which is as good as root`,
      `chmod 660 ${config.dockerSocket}`,
    );
  if (await isOpen(2375))
    return fail(
      'engine access',
      'port 2375 is open, where engines listen without a password: apps and hooks that reach it are root',
      'remove tcp:// from "hosts" in /etc/docker/daemon.json and from the options of dockerd',
    );
  return ok('engine access', `by its socket, for those who may use ${config.dockerSocket}`);
}

async function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 1000 });
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket
      .on('connect', () => end(true))
      .on('error', () => end(false))
      .on('timeout', () => end(false));
  });
}

/** Beyond what the kernel has room for, a container starts and is never healthy. */
export function neighboursFinding(running: number, most: number): Finding {
  const said = `${running} containers run, and the kernel has room to talk to ${most}`;
  return running <= 0.8 * most
    ? ok('neighbours', said)
    : warn(
        'neighbours',
        said,
        'sysctl -w net.ipv4.neigh.default.gc_thresh3=16384  (and the same in /etc/sysctl.d, for the next boot)',
      );
}

/** Containers nobody looks after any more. Those of this Gantry's own apps are swept by its worker. */
export async function forgottenFinding(
  engine: DockerodeEngine,
  storeId: string | undefined,
): Promise<Finding> {
  const all = await engine.listContainers(labels.store);
  const ours = all.filter((container) => container.labels[labels.store] === storeId);
  const others = all.filter((container) => container.labels[labels.store] !== storeId);
  if (others.length === 0) return ok('containers', `${ours.length} of this Gantry, none of another`);
  const stores = [...new Set(others.map((container) => container.labels[labels.store] ?? ''))];
  return warn(
    'containers',
    `${others.length} of another Gantry on this engine; forgotten, unless that one still runs`,
    `look: docker ps -a --filter label=${labels.store}=${stores[0]}`,
  );
}
