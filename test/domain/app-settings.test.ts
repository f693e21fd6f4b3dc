import { describe, expect, test } from 'vitest';
import { readAppOptions } from '../../src/domain/app-options.ts';
import { parseAppSettings, withOptions } from '../../src/domain/app-settings.ts';

const settings = (env: Record<string, string>) => {
  const parsed = parseAppSettings(env);
  if ('problems' in parsed) throw new Error(parsed.problems.join());
  return parsed.settings;
};

describe('what an app says about itself', () => {
  test('by default a Dockerfile, BuildKit, port 8080 and GET /', () => {
    expect(settings({})).toEqual({
      submodules: { areFetched: true, sshKey: undefined },
      appFolder: '',
      dockerfile: 'Dockerfile',
      builder: 'buildkit',
      port: 8080,
      isPortGiven: false,
      mountDockerSocket: false,
      ipv6Subnet: undefined,
      tcpPort: 4040,
      isTask: false,
      troubleshoot: false,
      runCommand: undefined,
      healthPaths: [],
      healthCheck: 'http',
      startTimeoutMs: undefined,
      hooks: {
        preBuild: undefined,
        postBuild: undefined,
        preRun: undefined,
        runSucceeded: undefined,
        runFailed: undefined,
      },
    });
  });

  test('options come before variables; an image is asked for a path only if one is named', () => {
    const none = readAppOptions(undefined);
    const said = settings({ CC_DOCKER_EXPOSED_HTTP_PORT: '9000', CC_RUN_COMMAND: 'one' });
    expect(withOptions(said, none, true)).toMatchObject({
      port: 9000,
      runCommand: 'one',
      healthCheck: 'port',
    });
    expect(withOptions(said, none, false)).toMatchObject({ healthCheck: 'http', startTimeoutMs: undefined });
    const options = { ...none, port: 7000, command: 'two', endpoint: '/up', startSeconds: 90 };
    expect(withOptions(said, options, true)).toMatchObject({
      port: 7000,
      isPortGiven: true,
      runCommand: 'two',
      healthCheck: 'http',
      healthPaths: ['/up'],
      startTimeoutMs: 90_000,
    });
    const paths = settings({ CC_HEALTH_CHECK_PATH: '/well' });
    expect(withOptions(paths, none, true)).toMatchObject({ healthCheck: 'http', healthPaths: ['/well'] });
    expect(withOptions(paths, { ...none, healthCheck: 'process' }, false).healthCheck).toBe('process');
  });

  test('the exposed port wins over a PORT of its own; empty counts as unset', () => {
    expect(settings({ PORT: '3000' }).port).toBe(3000);
    expect(settings({ PORT: '3000', CC_DOCKER_EXPOSED_HTTP_PORT: '9000' }).port).toBe(9000);
    expect(
      settings({ PORT: '', CC_DOCKER_EXPOSED_HTTP_PORT: '', CC_DOCKERFILE: '', CC_PRE_BUILD_HOOK: '' }),
    ).toMatchObject({
      port: 8080,
      dockerfile: 'Dockerfile',
      hooks: { preBuild: undefined },
    });
  });

  test.each(['0', '65536', '-1', '80;x', '8080 ', '٨٠٨٠', '1e3', '0x50', '99999999999'])(
    'port %j is refused by name',
    (port) => {
      expect(parseAppSettings({ CC_DOCKER_EXPOSED_HTTP_PORT: port })).toEqual({
        problems: ['CC_DOCKER_EXPOSED_HTTP_PORT must be a port number from 1 to 65535'],
      });
    },
  );

  test.each([
    '../x',
    '/etc/passwd',
    '-',
    '-f',
    'a\0b',
    'sub/../../x',
    '.',
    './',
    'a\\b',
    'a\nb',
    'x'.repeat(1001),
  ])('Dockerfile %j is refused', (path) => {
    expect(parseAppSettings({ CC_DOCKERFILE: path })).toEqual({
      problems: ['CC_DOCKERFILE must be a path inside the repository'],
    });
  });

  test('a login is for Docker Hub unless it says where', () => {
    const login = { CC_DOCKER_LOGIN_USERNAME: 'ana', CC_DOCKER_LOGIN_PASSWORD: 'secret\n' };
    expect(
      settings({ CC_DOCKER_LOGIN_SERVER: 'ghcr.io', GANTRY_STRICT_LOGIN: 'true' }).registry,
    ).toBeUndefined();
    expect(settings(login).registry).toEqual({
      host: 'docker.io',
      username: 'ana',
      password: 'secret',
      isStrict: false,
    });
    expect(
      settings({ ...login, CC_DOCKER_LOGIN_SERVER: 'ghcr.io', GANTRY_STRICT_LOGIN: 'true' }).registry,
    ).toMatchObject({
      host: 'ghcr.io',
      isStrict: true,
    });
    expect(settings({ CC_DOCKER_LOGIN_USERNAME: 'ana' }).registry).toMatchObject({ password: undefined });
  });

  test('a server with more than a host and a port is refused', () => {
    expect(
      parseAppSettings({ CC_DOCKER_LOGIN_SERVER: 'https://ghcr.io', GANTRY_STRICT_LOGIN: 'yes' }),
    ).toEqual({
      problems: [
        'GANTRY_STRICT_LOGIN must be true or false',
        'CC_DOCKER_LOGIN_SERVER must be a host or host:port, without https:// and path',
      ],
    });
  });

  test.each(['//evil', 'http://evil/', 'healthz', '/x\r\nX: y', '/a b', '/ü', `/${'x'.repeat(3000)}`])(
    'health path %j is refused',
    (path) => {
      expect(parseAppSettings({ CC_HEALTH_CHECK_PATH: path })).toHaveProperty('problems');
    },
  );

  test.each(['/', '/healthz', '/a/b?c=d&e=%20', '/../x'])('health path %j is taken', (path) => {
    expect(settings({ CC_HEALTH_CHECK_PATH: path }).healthPaths).toEqual([path]);
  });

  test('health paths come in the order of their numbers, each once, empty ones do not count', () => {
    const env = {
      CC_HEALTH_CHECK_PATH_10: '/ten',
      CC_HEALTH_CHECK_PATH_2: '/two',
      CC_HEALTH_CHECK_PATH_3: '',
      CC_HEALTH_CHECK_PATH: '/two',
      CC_HEALTH_CHECK_PATH_X: '/x',
    };
    expect(settings(env).healthPaths).toEqual(['/two', '/ten']);
    expect(parseAppSettings({ CC_HEALTH_CHECK_PATH_1: 'x' })).toMatchObject({
      problems: [expect.stringContaining('CC_HEALTH_CHECK_PATH_1')],
    });
  });

  test('everything that is wrong is said at once', () => {
    expect(parseAppSettings({ PORT: 'x', CC_DOCKER_BUILDX: 'maybe' })).toEqual({
      problems: ['CC_DOCKER_BUILDX must be true or false', 'PORT must be a port number from 1 to 65535'],
    });
  });
});
