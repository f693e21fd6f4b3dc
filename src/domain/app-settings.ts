import { dockerHub, parseRegistryHost } from './registry-login.ts';

/** What an app's variables say about how it is built and run; Clever Cloud's Docker contract. */
export type AppSettings = {
  dockerfile: string;
  builder: 'buildkit' | 'legacy';
  port: number;
  healthPath: string;
  /** The login at a registry with private base images. Half of one is a login that fails. */
  registry:
    | { host: string; username: string | undefined; password: string | undefined; isStrict: boolean }
    | undefined;
  hooks: {
    preBuild: string | undefined;
    postBuild: string | undefined;
    preRun: string | undefined;
    runSucceeded: string | undefined;
    runFailed: string | undefined;
  };
};

const defaultPort = 8080;

/** Problems are sentences that name the variable. An empty variable counts as unset. */
export function parseAppSettings(
  env: Readonly<Record<string, string>>,
): { settings: AppSettings } | { problems: string[] } {
  const problems: string[] = [];
  const given = (name: string): string | undefined => (env[name] === '' ? undefined : env[name]);

  const dockerfile = given('CC_DOCKERFILE') ?? 'Dockerfile';
  if (!isInsidePath(dockerfile)) problems.push('CC_DOCKERFILE must be a path inside the repository');

  const buildx = given('CC_DOCKER_BUILDX') ?? 'true';
  if (buildx !== 'true' && buildx !== 'false') problems.push('CC_DOCKER_BUILDX must be true or false');

  const portName =
    given('CC_DOCKER_EXPOSED_HTTP_PORT') !== undefined ? 'CC_DOCKER_EXPOSED_HTTP_PORT' : 'PORT';
  const port = parsePort(given(portName) ?? String(defaultPort));
  if (port === undefined) problems.push(`${portName} must be a port number from 1 to 65535`);

  const healthPath = given('CC_HEALTH_CHECK_PATH') ?? '/';
  if (!/^\/(?!\/)[\x21-\x7e]{0,2000}$/.test(healthPath)) {
    problems.push('CC_HEALTH_CHECK_PATH must be a path like /healthz, without spaces');
  }

  const username = given('CC_DOCKER_LOGIN_USERNAME');
  // `docker login --password-stdin` drops it as well: files with a password often end in one.
  const password = given('CC_DOCKER_LOGIN_PASSWORD')?.replace(/\r?\n$/, '');
  const host = parseRegistryHost(given('CC_DOCKER_LOGIN_SERVER') ?? dockerHub);
  if (host === undefined) {
    problems.push('CC_DOCKER_LOGIN_SERVER must be a host or host:port, without https:// and path');
  }
  const strict = given('GANTRY_STRICT_LOGIN') ?? 'false';
  if (strict !== 'true' && strict !== 'false') problems.push('GANTRY_STRICT_LOGIN must be true or false');

  if (problems.length > 0) return { problems };
  return {
    settings: {
      dockerfile,
      builder: buildx === 'true' ? 'buildkit' : 'legacy',
      port: port ?? defaultPort,
      healthPath,
      registry:
        username === undefined && password === undefined
          ? undefined
          : { host: host ?? dockerHub, username, password, isStrict: strict === 'true' },
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

/** The variables a container, a build and a hook of a deployment see besides the app's own. */
export function injectedEnv(
  deployment: { app: string; number: number; commit: string },
  port: number,
): Record<string, string> {
  return {
    PORT: String(port),
    APP_ID: deployment.app,
    CC_APP_NAME: deployment.app,
    CC_DEPLOYMENT_ID: String(deployment.number),
    CC_COMMIT_ID: deployment.commit,
    COMMIT_ID: deployment.commit,
  };
}
