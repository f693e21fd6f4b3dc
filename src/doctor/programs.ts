import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Config } from '../config.ts';
import { isInstalled, probeHookHost } from '../deploy/hook-host.ts';
import { describeLevel } from '../deploy/sandbox-level.ts';
import { messageOf } from '../errors.ts';
import { findHaproxy } from '../router/haproxy-binary.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

/** The first with the proc-receive hook. */
const oldestGit = [2, 29] as const;

export async function gitFinding(): Promise<Finding> {
  const fix = 'apt-get install git';
  const output = await promisify(execFile)('git', ['--version']).catch(() => undefined);
  const version = /(\d+)\.(\d+)[\w.]*/.exec(output?.stdout ?? '');
  if (!version) return fail('git', 'git is not installed', fix);
  const [major, minor] = [Number(version[1]), Number(version[2])];
  const isNew = major > oldestGit[0] || (major === oldestGit[0] && minor >= oldestGit[1]);
  return isNew
    ? ok('git', `git ${version[0]}`)
    : fail('git', `git ${version[0]} is too old, ${oldestGit.join('.')} is needed`, fix);
}

export async function haproxyFinding(config: Config): Promise<Finding> {
  if (config.externalHaproxy) return ok('haproxy', 'run by something else');
  try {
    const binary = await findHaproxy();
    const { stdout } = await promisify(execFile)(binary, ['-v']);
    return ok('haproxy', `${stdout.split(' ').slice(0, 3).join(' ')} (${binary})`);
  } catch (error) {
    return fail('haproxy', messageOf(error), 'apt-get install haproxy');
  }
}

export async function hooksFinding(config: Config): Promise<Finding> {
  const { choice } = await probeHookHost(config.hookSandbox, config.hookUser);
  if ('refused' in choice) {
    const detail = `apps with hooks on the host cannot be deployed: ${choice.refused}`;
    // Without root everything but hooks works.
    return (process.getuid?.() === 0 ? fail : warn)('hooks', detail, choice.fix);
  }
  const { walls, limits } = choice.level;
  const detail = describeLevel(choice.level);
  if (limits === 'per process') return warn('hooks', detail, 'run the worker where it may make cgroups');
  return walls === 'bubblewrap' || config.hookSandbox === 'unshare'
    ? ok('hooks', detail)
    : warn('hooks', detail, 'apt-get install bubblewrap  makes the machine read-only for hooks');
}

/** Signatures of webhooks, expiry of tokens and every time that is shown depend on it. */
export async function clockFinding(engineTime: () => Promise<Date | undefined>): Promise<Finding> {
  if (await isInstalled('timedatectl')) {
    const asked = await promisify(execFile)('timedatectl', ['show', '--property=NTPSynchronized']).catch(
      () => undefined,
    );
    if (/=no/.test(asked?.stdout ?? ''))
      return warn('clock', 'it is not kept right by a time server', 'timedatectl set-ntp true');
    if (/=yes/.test(asked?.stdout ?? '')) return ok('clock', 'kept right by a time server');
  }
  const asked = Date.now();
  const other = await engineTime().catch(() => undefined);
  const apart = other ? Math.max(0, asked - other.getTime(), other.getTime() - Date.now()) : 0;
  return apart > 5000
    ? warn(
        'clock',
        `${Math.round(apart / 1000)} s apart from the engine's`,
        'apt-get install systemd-timesyncd',
      )
    : ok(
        'clock',
        `${new Date(asked).toISOString()}; whether a time server keeps it right cannot be asked here`,
      );
}
