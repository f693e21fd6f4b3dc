import { execFile } from 'node:child_process';
import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { type Config, dataPaths, readConfig } from '../config.ts';
import { isInstalled, probeHookHost } from '../deploy/hook-host.ts';
import { describeLevel } from '../deploy/sandbox-level.ts';
import { DockerodeEngine } from '../docker/dockerode-engine.ts';
import { messageOf } from '../errors.ts';
import { findHaproxy } from '../router/haproxy-binary.ts';
import { checkRedis, patientRedis } from '../store/redis.ts';
import { printJson } from './print.ts';

type Finding = { check: string; state: 'ok' | 'warn' | 'fail'; detail: string; fix?: string };

/** What this machine has and lacks for a server. Looks only; nothing is started, written or repaired. */
export async function doctor(options: { json?: boolean }): Promise<void> {
  const config = readConfig(process.env);
  const findings = await Promise.all(
    [gitVersion(), engine(config), redis(config), haproxy(config), hooks(config), disk(config)].map(
      neverThrow,
    ),
  );
  if (options.json) printJson(findings);
  else
    for (const { check, state, detail, fix } of findings) {
      console.log(`${state.padEnd(5)} ${check.padEnd(8)} ${detail}`);
      if (fix !== undefined) console.log(`${''.padEnd(14)} -> ${fix}`);
    }
  if (findings.some(({ state }) => state === 'fail')) process.exitCode = 1;
}

async function neverThrow(finding: Promise<Finding>): Promise<Finding> {
  return finding.catch((error: unknown) => ({ check: 'doctor', state: 'fail', detail: messageOf(error) }));
}

/** The first with the proc-receive hook. */
const oldestGit = [2, 29] as const;

async function gitVersion(): Promise<Finding> {
  const fix = 'apt-get install git';
  const output = await promisify(execFile)('git', ['--version']).catch(() => undefined);
  const version = /(\d+)\.(\d+)[\w.]*/.exec(output?.stdout ?? '');
  if (!version) return { check: 'git', state: 'fail', detail: 'git is not installed', fix };
  const [major, minor] = [Number(version[1]), Number(version[2])];
  const isNew = major > oldestGit[0] || (major === oldestGit[0] && minor >= oldestGit[1]);
  return isNew
    ? { check: 'git', state: 'ok', detail: `git ${version[0]}` }
    : {
        check: 'git',
        state: 'fail',
        detail: `git ${version[0]} is too old, ${oldestGit.join('.')} is needed`,
        fix,
      };
}

async function engine(config: Config): Promise<Finding> {
  const docker = new DockerodeEngine({ socketPath: config.dockerSocket });
  try {
    return {
      check: 'docker',
      state: 'ok',
      detail: `engine ${await docker.check()} at ${config.dockerSocket}`,
    };
  } catch (error) {
    const detail = messageOf(error);
    const fix = /EACCES|permission/i.test(detail)
      ? 'sudo usermod -aG docker $(id -un)  and log in again'
      : 'systemctl start docker  (or: apt-get install docker.io; DOCKER_HOST for another socket)';
    return { check: 'docker', state: 'fail', detail, fix };
  } finally {
    await docker.close();
  }
}

async function redis(config: Config): Promise<Finding> {
  const socket = `${dataPaths(config.dataDir).redis}/redis.sock`;
  if (config.redisUrl === undefined && !(await stat(socket).catch(() => undefined))) {
    return (await isInstalled('redis-server')) || (await isInstalled('valkey-server'))
      ? { check: 'redis', state: 'ok', detail: 'installed; gantry start runs a private one' }
      : {
          check: 'redis',
          state: 'fail',
          detail: 'redis-server is not installed',
          fix: 'apt-get install redis-server',
        };
  }
  const client = patientRedis(config.redisUrl ? { url: config.redisUrl } : { socket });
  try {
    const [warning] = await checkRedis(client);
    if (warning !== undefined)
      return { check: 'redis', state: 'warn', detail: warning, fix: 'see redis.conf' };
    if (config.redisUrl !== undefined && !client.options.password) {
      return {
        check: 'redis',
        state: 'warn',
        detail: 'it asks for no password: hooks, builds and apps that reach its port can change everything',
        fix: 'set requirepass in redis.conf and GANTRY_REDIS_URL=redis://:PASSWORD@host:port',
      };
    }
    const where = config.redisUrl === undefined ? 'the private one answers' : 'the external one answers';
    return { check: 'redis', state: 'ok', detail: where };
  } catch (error) {
    const detail = messageOf(error);
    return { check: 'redis', state: 'fail', detail, fix: 'npm start, or check GANTRY_REDIS_URL' };
  } finally {
    client.disconnect();
  }
}

async function haproxy(config: Config): Promise<Finding> {
  if (config.externalHaproxy) return { check: 'haproxy', state: 'ok', detail: 'run by something else' };
  try {
    const binary = await findHaproxy();
    const { stdout } = await promisify(execFile)(binary, ['-v']);
    return {
      check: 'haproxy',
      state: 'ok',
      detail: `${stdout.split(' ').slice(0, 3).join(' ')} (${binary})`,
    };
  } catch (error) {
    return { check: 'haproxy', state: 'fail', detail: messageOf(error), fix: 'apt-get install haproxy' };
  }
}

async function hooks(config: Config): Promise<Finding> {
  const { choice } = await probeHookHost(config.hookSandbox, config.hookUser);
  if ('refused' in choice) {
    const detail = `apps with hooks on the host cannot be deployed: ${choice.refused}`;
    // Without root everything but hooks works.
    return { check: 'hooks', state: process.getuid?.() === 0 ? 'fail' : 'warn', detail, fix: choice.fix };
  }
  const { walls, limits } = choice.level;
  const detail = describeLevel(choice.level);
  if (limits === 'per process')
    return { check: 'hooks', state: 'warn', detail, fix: 'run the worker where it may make cgroups' };
  return walls === 'bubblewrap' || config.hookSandbox === 'unshare'
    ? { check: 'hooks', state: 'ok', detail }
    : {
        check: 'hooks',
        state: 'warn',
        detail,
        fix: 'apt-get install bubblewrap  makes the machine read-only for hooks',
      };
}

const gigabyte = 1024 ** 3;

async function disk(config: Config): Promise<Finding> {
  let folder = config.dataDir;
  while (!(await stat(folder).catch(() => undefined)) && folder !== '/') folder = dirname(folder);
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const detail = `${(free / gigabyte).toFixed(1)} GiB free for ${config.dataDir}`;
  const isBelow = free < config.diskFloorBytes;
  if (free >= 5 * gigabyte && !isBelow) return { check: 'disk', state: 'ok', detail };
  const fix = 'docker system prune, or move GANTRY_DATA to a larger disk';
  return { check: 'disk', state: isBelow ? 'fail' : 'warn', detail, fix };
}
