import { type AppOptions, type HealthCheckType, isHealthPath } from './app-options.ts';
import { canonicalIpv6Subnet, problemWithIpv6Subnet } from './ipv6-subnet.ts';
import { dockerHub, parseRegistryHost } from './registry-login.ts';

/** What an app's variables say about how it is built and run; Clever Cloud's Docker contract. */
export type AppSettings = {
  submodules: {
    areFetched: boolean;
    /** For those that come over ssh. */
    sshKey: string | undefined;
  };
  /** The folder of the repository the app is in; empty: its top. */
  appFolder: string;
  /** Inside the app's folder. */
  dockerfile: string;
  builder: 'buildkit' | 'legacy';
  port: number;
  /** Somebody said so; else it is the usual one, and an image may know better. */
  isPortGiven: boolean;
  /** It wants the Docker socket, which an administrator has to allow. */
  mountDockerSocket: boolean;
  /** Of the app's network, besides its IPv4 addresses. */
  ipv6Subnet: string | undefined;
  /** For an app whose TCP service is enabled. */
  tcpPort: number;
  /** All of them must answer 200; none when the app does not say which. */
  healthPaths: readonly string[];
  healthCheck: HealthCheckType;
  /** How long a new container may take to become healthy. `undefined`: what the server gives every app. */
  startTimeoutMs: number | undefined;
  /** The login at a registry with private base images. Half of one is a login that fails. */
  registry:
    | { host: string; username: string | undefined; password: string | undefined; isStrict: boolean }
    | undefined;
  /** A deployment runs the container once instead of serving it. */
  isTask: boolean;
  /** How long after it went live a crash puts the release before back, should the app have its own idea of that. */
  monitorMs: number | undefined;
  /** Say more, and keep a container that failed for a look at it. */
  troubleshoot: boolean;
  /** Instead of the image's own command. */
  runCommand: string | undefined;
  hooks: {
    preBuild: string | undefined;
    postBuild: string | undefined;
    preRun: string | undefined;
    runSucceeded: string | undefined;
    runFailed: string | undefined;
  };
};

/** Switches that are off unless they say `true`. */
const flags = ['GANTRY_STRICT_LOGIN', 'CC_MOUNT_DOCKER_SOCKET', 'CC_TASK', 'CC_TROUBLESHOOT'];

const defaultPort = 8080;
const defaultTcpPort = 4040;

/** Problems are sentences that name the variable. An empty variable counts as unset. */
export function parseAppSettings(
  env: Readonly<Record<string, string>>,
): { settings: AppSettings } | { problems: string[] } {
  const problems: string[] = [];
  const given = (name: string): string | undefined => (env[name] === '' ? undefined : env[name]);
  const flag = (name: string): boolean => given(name) === 'true';
  for (const name of flags) {
    if (!['true', 'false'].includes(given(name) ?? 'false')) problems.push(`${name} must be true or false`);
  }

  const noSubmodules = given('CC_DISABLE_GIT_SUBMODULES') ?? 'false';
  if (noSubmodules !== 'true' && noSubmodules !== 'false')
    problems.push('CC_DISABLE_GIT_SUBMODULES must be true or false');

  const appFolder = (given('APP_FOLDER') ?? '').replace(/^(\.\/+)+|\/+$|^\.$/g, '');
  if (appFolder !== '' && !isInsidePath(appFolder))
    problems.push('APP_FOLDER must be a folder inside the repository, without a leading slash');

  const dockerfile = given('CC_DOCKERFILE') ?? 'Dockerfile';
  if (!isInsidePath(dockerfile)) problems.push('CC_DOCKERFILE must be a path inside the repository');

  const buildx = given('CC_DOCKER_BUILDX') ?? 'true';
  if (buildx !== 'true' && buildx !== 'false') problems.push('CC_DOCKER_BUILDX must be true or false');

  const portName =
    given('CC_DOCKER_EXPOSED_HTTP_PORT') !== undefined ? 'CC_DOCKER_EXPOSED_HTTP_PORT' : 'PORT';
  const port = parsePort(given(portName) ?? String(defaultPort));
  if (port === undefined) problems.push(`${portName} must be a port number from 1 to 65535`);

  const ipv6 = given('CC_DOCKER_FIXED_CIDR_V6');
  const ipv6Problem = ipv6 === undefined ? undefined : problemWithIpv6Subnet(ipv6);
  if (ipv6Problem !== undefined) problems.push(`CC_DOCKER_FIXED_CIDR_V6 ${ipv6Problem}`);
  const tcpPort = parsePort(given('CC_DOCKER_EXPOSED_TCP_PORT') ?? String(defaultTcpPort));
  if (tcpPort === undefined)
    problems.push('CC_DOCKER_EXPOSED_TCP_PORT must be a port number from 1 to 65535');

  const healthPaths = healthNames(env).map((name) => {
    const path = given(name) ?? '/';
    if (!isHealthPath(path)) problems.push(`${name} must be a path like /healthz, without spaces`);
    return path;
  });

  const monitorText = given('GANTRY_MONITOR_WINDOW');
  const monitorMs = monitorText === undefined ? undefined : parseMonitorWindow(monitorText);
  if (monitorText !== undefined && monitorMs === undefined)
    problems.push('GANTRY_MONITOR_WINDOW must be a number of seconds from 0 (off) to 3600');

  const username = given('CC_DOCKER_LOGIN_USERNAME');
  // `docker login --password-stdin` drops it as well: files with a password often end in one.
  const password = given('CC_DOCKER_LOGIN_PASSWORD')?.replace(/\r?\n$/, '');
  const host = parseRegistryHost(given('CC_DOCKER_LOGIN_SERVER') ?? dockerHub);
  if (host === undefined) {
    problems.push('CC_DOCKER_LOGIN_SERVER must be a host or host:port, without https:// and path');
  }

  if (problems.length > 0) return { problems };
  return {
    settings: {
      submodules: { areFetched: noSubmodules === 'false', sshKey: given('CC_SSH_PRIVATE_KEY') },
      appFolder,
      dockerfile,
      builder: buildx === 'true' ? 'buildkit' : 'legacy',
      port: port ?? defaultPort,
      isPortGiven: given(portName) !== undefined,
      mountDockerSocket: flag('CC_MOUNT_DOCKER_SOCKET'),
      ipv6Subnet: ipv6 === undefined ? undefined : canonicalIpv6Subnet(ipv6),
      tcpPort: tcpPort ?? defaultTcpPort,
      healthPaths: [...new Set(healthPaths)],
      healthCheck: 'http',
      startTimeoutMs: undefined,
      registry:
        username === undefined && password === undefined
          ? undefined
          : { host: host ?? dockerHub, username, password, isStrict: flag('GANTRY_STRICT_LOGIN') },
      isTask: flag('CC_TASK'),
      monitorMs,
      troubleshoot: flag('CC_TROUBLESHOOT'),
      runCommand: given('CC_RUN_COMMAND'),
      hooks: {
        preBuild: given('CC_PRE_BUILD_HOOK'),
        postBuild: given('CC_POST_BUILD_HOOK'),
        preRun: given('CC_PRE_RUN_HOOK'),
        runSucceeded: given('CC_RUN_SUCCEEDED_HOOK'),
        runFailed: given('CC_RUN_FAILED_HOOK'),
      },
    },
  };
}

/**
 * With what is decided about the app besides its variables, which comes first. An image that says nothing of paths need
 * not speak HTTP: it is enough that it takes connections, as on Cloud Foundry.
 */
export function withOptions(settings: AppSettings, options: AppOptions, isPulled: boolean): AppSettings {
  const { port, command, healthCheck, endpoint, startSeconds } = options;
  const healthPaths = endpoint === undefined ? settings.healthPaths : [endpoint];
  const usual: HealthCheckType = isPulled && healthPaths.length === 0 ? 'port' : 'http';
  return {
    ...settings,
    ...(port !== undefined && { port, isPortGiven: true }),
    ...(command !== undefined && { runCommand: command }),
    healthPaths,
    healthCheck: healthCheck ?? usual,
    startTimeoutMs: startSeconds === undefined ? undefined : startSeconds * 1000,
  };
}

/** CC_HEALTH_CHECK_PATH, then CC_HEALTH_CHECK_PATH_0, _1, ... in the order of their numbers; gaps are fine. */
function healthNames(env: Readonly<Record<string, string>>): string[] {
  const numbered = Object.keys(env)
    .flatMap((name) => /^CC_HEALTH_CHECK_PATH_(0|[1-9][0-9]{0,3})$/.exec(name)?.[1] ?? [])
    .sort((a, b) => Number(a) - Number(b))
    .map((number) => `CC_HEALTH_CHECK_PATH_${number}`);
  return ['CC_HEALTH_CHECK_PATH', ...numbered].filter((name) => (env[name] ?? '') !== '');
}

export const longestMonitorMs = 3_600_000;

/** Milliseconds, of a text in seconds. */
export function parseMonitorWindow(text: string): number | undefined {
  const ms = /^\d{1,4}$/.test(text) ? Number(text) * 1000 : Number.NaN;
  return ms <= longestMonitorMs ? ms : undefined;
}

function parsePort(text: string): number | undefined {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65535 ? port : undefined;
}

/** Lexically inside; links are resolved later, against the checkout. */
function isInsidePath(path: string): boolean {
  if (path.startsWith('/') || path.startsWith('-') || /[\p{Cc}\\]/u.test(path) || path.length > 1000)
    return false;
  return !path.split('/').includes('..') && path.split('/').some((part) => part !== '' && part !== '.');
}
