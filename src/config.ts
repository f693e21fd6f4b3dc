import type { BlockList } from 'node:net';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseMemory } from './domain/app-options.ts';
import { parseMonitorWindow } from './domain/app-settings.ts';
import { isRegistryPlace } from './domain/image-reference.ts';
import { parseRanges } from './domain/internal-address.ts';

/**
 * Every setting of the server and the worker. The README's table of variables is checked against `variables` by a test.
 * Nothing secret is in here, so it may be logged.
 */
export type Config = Readonly<{
  dataDir: string;
  /** Where git and the API listen. */
  bind: string;
  port: number;
  /** How people reach git and the API from outside, without a trailing slash. */
  url: string;
  /** Where the router listens for the apps' visitors. */
  httpBind: string;
  httpPort: number;
  /** Apps answer at `<app>.<domain>`. */
  domain: string;
  /** An external Redis; absent: a private one in the data folder. */
  redisUrl: string | undefined;
  /** HAProxy is run by somebody else, from the files in the data folder. */
  externalHaproxy: boolean;
  dockerSocket: string;
  /** Deployments at the same time in one worker process. */
  concurrency: number;
  hookUser: string;
  hookTimeoutMs: number;
  hookMemoryBytes: number;
  hookProcesses: number;
  /** How hooks are kept apart; never less than asked. */
  hookSandbox: 'auto' | 'bubblewrap' | 'unshare';
  buildTimeoutMs: number;
  healthTimeoutMs: number;
  drainTimeoutMs: number;
  stopTimeoutMs: number;
  terminalGraceMs: number;
  /** How long after it went live a crash of a release puts the one before back; 0: never. */
  monitorMs: number;
  appMemoryBytes: number;
  /** Public ports for the apps' TCP services. */
  tcpPorts: { from: number; to: number };
  /** IPv4 range the apps' networks are cut from, sixteen addresses each. */
  subnets: string;
  keepReleases: number;
  /** What is kept of what one app prints. */
  appLogBytes: number;
  /** Of the engine's build cache, what is not part of an image. */
  buildCacheBytes: number;
  /** With less than this free nothing is built. */
  diskFloorBytes: number;
  /** Internal addresses that submodules may come from. */
  allowedInternal: BlockList;
  /** Proxies before the server whose `X-Forwarded-For` is believed. */
  trustedProxies: BlockList;
  /** Instead of the machine's certificate authorities, for submodules. */
  /** Where built images go besides. */
  registry: { place: string | undefined; username: string | undefined; passwordFile: string | undefined };
  gitCaFile: string | undefined;
  /** Milliseconds between one attempt to send an event and the next. */
  webhookRetriesMs: readonly number[];
  webhookTimeoutMs: number;
  /** A newer push cancels an older deployment that has not begun its switch. */
  cancelOnPush: boolean;
  logLevel: string;
}>;

type Variable<T> = {
  example: string;
  about: string;
  fallback: string;
  parse: (text: string) => T | undefined;
};

const text = (value: string): string | undefined => (value === '' ? undefined : value);
const flag = (value: string): boolean | undefined =>
  value === 'true' ? true : value === 'false' ? false : undefined;
const int = (low: number, high: number) => (value: string) => {
  const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
  return number >= low && number <= high ? number : undefined;
};
const seconds = (value: string): number | undefined => {
  const number = /^\d{1,6}(\.\d{1,3})?$/.test(value) ? Number(value) : 0;
  return number > 0 ? Math.round(number * 1000) : undefined;
};

const variable = <T>(
  parse: (text: string) => T | undefined,
  fallback: string,
  example: string,
  about: string,
): Variable<T> => ({
  parse,
  fallback,
  example,
  about,
});

const defaultDataDir = process.getuid?.() === 0 ? '/var/lib/gantry' : join(homedir(), '.local/share/gantry');

export const variables = {
  GANTRY_DATA: variable(text, defaultDataDir, '/srv/gantry', 'the one folder with all data'),
  GANTRY_BIND: variable(text, '127.0.0.1', '0.0.0.0', 'address git and the API listen on'),
  GANTRY_PORT: variable(int(1, 65535), '8010', '8010', 'port of git and the API'),
  GANTRY_URL: variable(
    url,
    '',
    'https://deploy.example.com',
    'how people reach git and the API (default `http://localhost:<port>`)',
  ),
  GANTRY_HTTP_BIND: variable(text, '*', '0.0.0.0', 'address the router listens on'),
  GANTRY_HTTP_PORT: variable(int(1, 65535), '8000', '80', 'port of the router: where the apps answer'),
  GANTRY_DOMAIN: variable(domain, 'localhost', 'apps.example.com', 'apps answer at `<app>.<domain>`'),
  GANTRY_REDIS_URL: variable(
    text,
    '',
    'redis://127.0.0.1:6379',
    'an external Redis (default: a private one)',
  ),
  GANTRY_EXTERNAL_HAPROXY: variable(
    flag,
    'false',
    'true',
    'HAProxy is run by something else from the files in `<data>/router`, as docker-compose.yml does',
  ),
  GANTRY_CONCURRENCY: variable(int(1, 64), '2', '4', 'deployments at the same time'),
  GANTRY_HOOK_USER: variable(text, 'gantry-hook', 'nobody', 'unprivileged user the host hooks run as'),
  GANTRY_HOOK_TIMEOUT: variable(seconds, '600', '120', 'seconds a host hook may take'),
  GANTRY_HOOK_MEMORY: variable(
    parseMemory,
    '2G',
    '512M',
    'memory of a host hook, all its processes together',
  ),
  GANTRY_HOOK_PROCESSES: variable(int(16, 100_000), '512', '256', 'processes and threads of a host hook'),
  GANTRY_HOOK_SANDBOX: variable(
    sandboxWish,
    'auto',
    'bubblewrap',
    '`bubblewrap` or `unshare` instead of the best there is; a hook is refused rather than run with less',
  ),
  GANTRY_BUILD_TIMEOUT: variable(seconds, '3600', '900', 'seconds a build may take'),
  GANTRY_HEALTH_TIMEOUT: variable(
    seconds,
    '60',
    '20',
    'seconds until the health check must have answered 200',
  ),
  GANTRY_DRAIN_TIMEOUT: variable(
    seconds,
    '30',
    '60',
    'seconds requests in flight may take to finish on the old release',
  ),
  GANTRY_STOP_TIMEOUT: variable(seconds, '10', '30', 'seconds between SIGTERM and SIGKILL'),
  GANTRY_MONITOR_WINDOW: variable(
    parseMonitorWindow,
    '30',
    '120',
    'seconds after it went live in which a release that crashes is replaced by the one before; 0 for never. Also a variable of an app',
  ),
  GANTRY_TERMINAL_GRACE: variable(
    atLeastFiveSeconds,
    '60',
    '300',
    'seconds until an interactive `gantry run` or a `gantry exec` whose terminal is gone is stopped, at least 5',
  ),
  GANTRY_APP_MEMORY: variable(parseMemory, '512M', '1G', 'memory limit of a container, swap off'),
  GANTRY_TCP_PORTS: variable(portRange, '5000-5999', '5000-5099', 'public ports for TCP services of apps'),
  GANTRY_SUBNETS: variable(subnet, '10.213.0.0/16', '10.99.0.0/16', 'range the apps’ networks are cut from'),
  GANTRY_ALLOW_INTERNAL_ADDRESSES: variable(
    parseRanges,
    '',
    '10.1.2.0/24,fd00::/8',
    'internal addresses that submodules and linked repositories may come from, and events go to; else none may',
  ),
  GANTRY_TRUSTED_PROXIES: variable(
    parseRanges,
    '',
    '127.0.0.1/32',
    'addresses of proxies before git and the API, whose `X-Forwarded-For` is believed',
  ),
  GANTRY_GIT_CA_FILE: variable(
    (value: string) => value,
    '',
    '/etc/ssl/forge-ca.pem',
    'certificates of authorities to trust for submodules and linked repositories (default: the machine’s), and for outgoing webhooks besides the usual ones',
  ),
  GANTRY_REGISTRY: variable(
    registryPlace,
    '',
    'registry.example.com/team',
    'where every built image is uploaded as `<registry>/<app>:<commit>` (default: nowhere)',
  ),
  GANTRY_REGISTRY_USERNAME: variable(text, '', 'gantry', 'the login there (default: none)'),
  GANTRY_REGISTRY_PASSWORD_FILE: variable(text, '', '/etc/gantry/registry', 'the file with its password'),
  GANTRY_KEEP_RELEASES: variable(int(1, 1000), '10', '5', 'images of how many releases are kept'),
  GANTRY_APP_LOG: variable(
    parseMemory,
    '32M',
    '128M',
    'size of the log of an app, that is of what its containers print; the oldest lines go first',
  ),
  GANTRY_BUILD_CACHE: variable(
    parseMemory,
    '10G',
    '2G',
    'size of the engine’s build cache; what was used longest ago goes first',
  ),
  GANTRY_DISK_FLOOR: variable(
    (value) => (value === '0' ? 0 : parseMemory(value)),
    '1G',
    '5G',
    'no build begins with less than this free for the data folder or the engine; 0 for any',
  ),
  GANTRY_WEBHOOK_RETRIES: variable(
    secondsList,
    '5,300,1800,7200,18000,36000,50400,72000,86400',
    '5,60,600',
    'seconds between one attempt to send an event to an outgoing webhook and the next',
  ),
  GANTRY_WEBHOOK_TIMEOUT: variable(seconds, '15', '5', 'seconds its receiver has to answer'),
  GANTRY_CANCEL_ON_PUSH: variable(
    flag,
    'true',
    'false',
    'a newer push cancels an older deployment that still builds',
  ),
  GANTRY_LOG_LEVEL: variable(text, 'info', 'debug', 'level of the operator log'),
  DOCKER_HOST: variable(
    dockerHost,
    'unix:///var/run/docker.sock',
    'unix:///var/run/docker.sock',
    'the engine’s socket',
  ),
} as const;

function secondsList(value: string): number[] | undefined {
  const all = value.split(',').map((part) => seconds(part.trim()));
  return all.length <= 30 && all.every((ms) => ms !== undefined) ? all : undefined;
}

/** A terminal says every two seconds that it is there. */
function atLeastFiveSeconds(value: string): number | undefined {
  const ms = seconds(value) ?? 0;
  return ms >= 5000 ? ms : undefined;
}

function url(value: string): string | undefined {
  if (value === '') return '';
  return /^https?:\/\/[^\s/?#]+(\/[^\s?#]*)?$/.test(value) ? value.replace(/\/+$/, '') : undefined;
}

function domain(value: string): string | undefined {
  return /^[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?$/.test(value) ? value : undefined;
}

function registryPlace(value: string): string | undefined {
  return value === '' || isRegistryPlace(value) ? value : undefined;
}

function portRange(value: string): { from: number; to: number } | undefined {
  const [, from = 0, to = 0] = (/^(\d{1,5})-(\d{1,5})$/.exec(value) ?? []).map(Number);
  return from >= 1 && from <= to && to <= 65535 ? { from, to } : undefined;
}

function subnet(value: string): string | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.0\.0\/16$/.exec(value);
  return match && Number(match[1]) < 224 && Number(match[2]) < 256 ? value : undefined;
}

function sandboxWish(value: string): 'auto' | 'bubblewrap' | 'unshare' | undefined {
  return value === 'auto' || value === 'bubblewrap' || value === 'unshare' ? value : undefined;
}

function dockerHost(value: string): string | undefined {
  return value.startsWith('unix:///') ? value.slice('unix://'.length) : undefined;
}

/** Throws one error that names every variable that is wrong, with an example. */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  const problems: string[] = [];
  const read = <K extends keyof typeof variables>(name: K) => {
    const { parse, fallback, example } = variables[name] as Variable<unknown>;
    const value = parse(env[name] ?? fallback) ?? (env[name] === '' ? parse(fallback) : undefined);
    if (value === undefined && (env[name] ?? '') !== '')
      problems.push(`${name}=${env[name]} is not valid, for example ${name}=${example}`);
    return value as ReturnType<(typeof variables)[K]['parse']> & {};
  };
  for (const name of Object.keys(env)) {
    if (name.startsWith('GANTRY_') && !(name in variables) && !outside.has(name))
      problems.push(`${name} is not a setting of Gantry`);
  }
  const port = read('GANTRY_PORT');
  const config: Config = {
    dataDir: resolve(read('GANTRY_DATA')),
    bind: read('GANTRY_BIND'),
    port,
    url: read('GANTRY_URL') || `http://localhost:${port}`,
    httpBind: read('GANTRY_HTTP_BIND'),
    httpPort: read('GANTRY_HTTP_PORT'),
    domain: read('GANTRY_DOMAIN'),
    redisUrl: env.GANTRY_REDIS_URL || undefined,
    externalHaproxy: read('GANTRY_EXTERNAL_HAPROXY'),
    dockerSocket: read('DOCKER_HOST'),
    concurrency: read('GANTRY_CONCURRENCY'),
    hookUser: read('GANTRY_HOOK_USER'),
    hookTimeoutMs: read('GANTRY_HOOK_TIMEOUT'),
    hookMemoryBytes: read('GANTRY_HOOK_MEMORY'),
    hookProcesses: read('GANTRY_HOOK_PROCESSES'),
    hookSandbox: read('GANTRY_HOOK_SANDBOX'),
    buildTimeoutMs: read('GANTRY_BUILD_TIMEOUT'),
    healthTimeoutMs: read('GANTRY_HEALTH_TIMEOUT'),
    drainTimeoutMs: read('GANTRY_DRAIN_TIMEOUT'),
    stopTimeoutMs: read('GANTRY_STOP_TIMEOUT'),
    terminalGraceMs: read('GANTRY_TERMINAL_GRACE'),
    monitorMs: read('GANTRY_MONITOR_WINDOW'),
    appMemoryBytes: read('GANTRY_APP_MEMORY'),
    tcpPorts: read('GANTRY_TCP_PORTS'),
    subnets: read('GANTRY_SUBNETS'),
    keepReleases: read('GANTRY_KEEP_RELEASES'),
    appLogBytes: read('GANTRY_APP_LOG'),
    buildCacheBytes: read('GANTRY_BUILD_CACHE'),
    diskFloorBytes: read('GANTRY_DISK_FLOOR'),
    allowedInternal: read('GANTRY_ALLOW_INTERNAL_ADDRESSES'),
    trustedProxies: read('GANTRY_TRUSTED_PROXIES'),
    registry: {
      place: read('GANTRY_REGISTRY') || undefined,
      username: read('GANTRY_REGISTRY_USERNAME') || undefined,
      passwordFile: read('GANTRY_REGISTRY_PASSWORD_FILE') || undefined,
    },
    gitCaFile: read('GANTRY_GIT_CA_FILE') || undefined,
    webhookRetriesMs: read('GANTRY_WEBHOOK_RETRIES'),
    webhookTimeoutMs: read('GANTRY_WEBHOOK_TIMEOUT'),
    cancelOnPush: read('GANTRY_CANCEL_ON_PUSH'),
    logLevel: read('GANTRY_LOG_LEVEL'),
  };
  if (problems.length > 0) throw new Error(problems.join('\n'));
  return Object.freeze(config);
}

/** Ours, but not settings of a server: the command line's, and what the server hands to git's hook. */
const outside = new Set([
  'GANTRY_TOKEN',
  'GANTRY_APP',
  'GANTRY_FORGE_TOKEN',
  'GANTRY_DOCKER_PASSWORD',
  'GANTRY_HOOK_SOCKET',
]);

/** Every path below the data folder, so that no caller builds one by hand. */
export function dataPaths(dataDir: string) {
  return {
    repositories: join(dataDir, 'git'),
    gitConfig: join(dataDir, 'git-config'),
    hookSocket: join(dataDir, 'hook.sock'),
    redis: join(dataDir, 'redis'),
    router: join(dataDir, 'router'),
    tcpRouter: join(dataDir, 'router', 'tcp'),
    work: join(dataDir, 'work'),
    logs: join(dataDir, 'logs'),
    appLogs: join(dataDir, 'app-logs'),
    serviceCopies: join(dataDir, 'service-copies'),
    keys: join(dataDir, 'keys'),
    knownHosts: join(dataDir, 'known-hosts'),
    fetches: join(dataDir, 'fetches'),
    storeId: join(dataDir, 'store-id'),
    storeEpoch: join(dataDir, 'store-epoch'),
    /** There while everything of the apps is being taken down: nothing may be brought back. */
    takenDown: join(dataDir, 'taken-down'),
    token: join(dataDir, 'admin-token'),
    lock: join(dataDir, 'server.lock'),
    /** There until a backup is restored to its end. */
    restoring: join(dataDir, 'restoring'),
  };
}

/** Where an app answers. The port is left out where browsers know it. */
export function appUrl(config: Pick<Config, 'domain' | 'httpPort'>, app: string): string {
  return `http://${app}.${config.domain}${config.httpPort === 80 ? '' : `:${config.httpPort}`}`;
}
