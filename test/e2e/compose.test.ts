import { type ExecFileException, execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { variables } from '../../src/config.ts';
import { localDocker } from '../support/base-image.ts';
import { withRetries } from '../support/debian-image.ts';
import { lookAlikeImages } from '../support/look-alike-images.ts';
import { appRepository, freePort, requestHost, until } from '../support/rig.ts';
import { Visitors } from '../support/visitor.ts';

const folder = fileURLToPath(new URL('../..', import.meta.url));

type Compose = { command: string; args: string[]; version: string };
type Result = { code: number; stdout: string; stderr: string };

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Result> {
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('GANTRY_'));
  return new Promise((resolve) => {
    const options = {
      cwd: folder,
      env: { ...Object.fromEntries(clean), ...env },
      maxBuffer: 64 * 1024 * 1024,
    };
    execFile(command, [...args], options, (error: ExecFileException | null, stdout, stderr) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, stdout, stderr }),
    );
  });
}

/** Whatever this machine has: version 1 is a command, version 2 a command, a plugin of docker's, or both. */
async function composes(): Promise<Compose[]> {
  const found: Compose[] = [];
  for (const [command, ...args] of [['docker-compose'], ['docker', 'compose']] as const) {
    const { code, stdout } = await run(command, [...args, 'version', '--short']);
    if (code === 0) found.push({ command, args, version: stdout.trim() });
  }
  return found;
}

/** The project as it is in the repository, under a name and on ports of its own. */
class Project {
  readonly name = `gantry-test-${process.pid}`;
  readonly compose: Compose;
  readonly env: Record<string, string>;
  readonly port: number;
  readonly httpPort: number;
  #token: string | undefined;

  constructor(compose: Compose, port: number, httpPort: number) {
    this.compose = compose;
    this.port = port;
    this.httpPort = httpPort;
    this.env = {
      GANTRY_PORT: String(port),
      GANTRY_HTTP_PORT: String(httpPort),
      GANTRY_HTTP_BIND: '127.0.0.1',
      GANTRY_HEALTH_TIMEOUT: '3',
      // Version 1 takes the docker command for a builder otherwise, and one without its plugin is none.
      ...(compose.version.startsWith('1.') && { COMPOSE_DOCKER_CLI_BUILD: '0' }),
    };
  }

  async do(...args: string[]): Promise<string> {
    const { command } = this.compose;
    const result = await run(command, [...this.compose.args, '-p', this.name, ...args], this.env);
    if (result.code !== 0)
      throw new Error(`${args.join(' ')}: ${result.code}\n${result.stdout}\n${result.stderr}`.slice(-8000));
    return result.stdout;
  }

  exec(service: string, ...command: string[]): Promise<string> {
    return this.do('exec', '-T', service, ...command);
  }

  async inspect(service: string) {
    const label = [`com.docker.compose.project=${this.name}`, `com.docker.compose.service=${service}`];
    const [found] = await localDocker().listContainers({ all: true, filters: { label } });
    if (!found) throw new Error(`there is no container of ${service}`);
    return localDocker().getContainer(found.Id).inspect();
  }

  async token(): Promise<string> {
    this.#token ??= (await this.exec('server', 'cat', '/data/admin-token')).trim();
    return this.#token;
  }

  async pushUrl(app: string): Promise<string> {
    return `http://ana:${await this.token()}@127.0.0.1:${this.port}/${app}.git`;
  }

  async createApp(name: string): Promise<void> {
    const answer = await fetch(`http://127.0.0.1:${this.port}/api/v1/apps`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await this.token()}`, 'content-type': 'application/json' },
      body: JSON.stringify({ name }),
    });
    if (!answer.ok) throw new Error(`${name} was not created: ${await answer.text()}`);
  }

  /** Takes the project's names from its images; they stay under one of the tests, which makes the next run quick. */
  async forgetImages(): Promise<void> {
    const docker = localDocker();
    // A service's image is called project_service by version 1 and project-service by version 2.
    const reference = [`${this.name}_*`, `${this.name}-*`];
    for (const { RepoTags } of await docker.listImages({ filters: { reference } })) {
      for (const name of (RepoTags ?? []).filter((tag) => tag.startsWith(this.name))) {
        const tag = name.slice(this.name.length + 1).replace(/:.*/, '');
        await docker.getImage(name).tag({ repo: 'gantry-test/compose', tag });
        await docker.getImage(name).remove();
      }
    }
  }

  request(app: string) {
    return requestHost(this.httpPort, `${app}.localhost`);
  }
}

describe('docker-compose.yml', async () => {
  const all = await composes();

  test('there is a docker compose to try it with', () => expect(all).not.toEqual([]));

  test.each(all)(
    'is valid for version $version, and every setting can be given',
    async ({ command, args }) => {
      const check = await run(command, [...args, 'config', '--quiet']);
      expect(check).toMatchObject({ code: 0, stdout: '' });
      const { stdout } = await run(command, [...args, 'config']);
      // Where things are in the containers is not for others to choose.
      const fixed = ['GANTRY_DATA', 'GANTRY_REDIS_URL', 'GANTRY_HOOK_USER', 'DOCKER_HOST'];
      const settings = Object.keys(variables).filter((name) => !fixed.includes(name));
      expect(settings.filter((name) => !stdout.includes(`      ${name}: `))).toEqual([]);
    },
  );
});

describe('Gantry in containers', () => {
  let project: Project;
  /** From the last to the first, and all of it, whatever fails. */
  const cleanUp: (() => unknown)[] = [];
  afterAll(async () => {
    const failures: unknown[] = [];
    for (const step of cleanUp.reverse())
      await Promise.resolve()
        .then(step)
        .catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw new AggregateError(failures, 'could not take everything down');
  }, 120_000);

  beforeAll(async () => {
    const [compose] = await composes();
    if (!compose) throw new Error('there is no docker compose');
    project = new Project(compose, await freePort(), await freePort());
    const images = await lookAlikeImages(localDocker());
    cleanUp.push(() => images[Symbol.asyncDispose]());
    await withRetries(() => project.do('build', '--force-rm'));
    cleanUp.push(() => project.forgetImages());
    cleanUp.push(() => project.do('down', '--volumes'));
    await project.do('up', '-d').catch(async (error: Error) => {
      throw new Error(`${error.message}\n${await project.do('logs', '--tail', '30')}`);
    });
    cleanUp.push(() => project.exec('worker', 'gantry', 'down', '--apps'));
  }, 400_000);

  test('is up, and nothing of it can be reached from other machines or from apps but the router', async () => {
    for (const service of ['redis', 'server'])
      expect((await project.inspect(service)).State.Health?.Status).toBe('healthy');
    for (const service of ['haproxy', 'worker']) {
      expect((await project.inspect(service)).State).toMatchObject({ Running: true, Restarting: false });
    }
    expect((await project.inspect('redis')).HostConfig.NetworkMode).toBe('none');
    expect((await project.inspect('server')).NetworkSettings.Ports).toEqual({
      [`${project.port}/tcp`]: [{ HostIp: '127.0.0.1', HostPort: String(project.port) }],
    });
    expect(
      await project.exec('redis', 'redis-cli', '-s', '/data/redis.sock', 'config', 'get', 'appendfsync'),
    ).toContain('always');
  });

  test('a push goes live, the next one replaces it without a failed request', async () => {
    await using repo = await appRepository('web');
    const url = await project.pushUrl('web');
    const first = await repo.push(url);
    expect(first.stderr).toContain('success: web v1 is live');
    expect(first.code).toBe(0);
    expect(await project.request('web')).toMatchObject({ status: 200, body: 'one' });
    expect(await project.exec('server', 'gantry', 'apps')).toMatch(/^web +v1 /m);

    const visitors = new Visitors(project.httpPort, 'web.localhost', 100);
    await repo.commit({ version: 'two' }, 'Second');
    const second = await repo.push(url);
    expect(second.stderr).toContain('success: web v2 is live');
    await until('visitors see the second', () => visitors.versions.includes('two'));
    await visitors.leave();
    expect(visitors.failures).toEqual([]);
    expect(visitors.versions.at(-1)).toBe('two');
  });

  test('hooks run without privilege, data and Docker; an app that listens in the wrong place is told so', async () => {
    await using repo = await appRepository('web', {
      'hook.sh': {
        executable: true,
        content: `#!/bin/sh
id
echo "data: $(ls /data)"
grep CapBnd /proc/self/status
node -e 'require("net").connect("/var/run/docker.sock").on("error", (e) => console.log("docker:", e.code))'
`,
      },
      Dockerfile: 'FROM gantry-test/base:1\nCMD ["httpd","-f","-p","127.0.0.1:8080"]\n',
    });
    const url = await project.pushUrl('hooks');
    await project.createApp('hooks');
    await project.exec('server', 'gantry', 'env', 'set', '--app', 'hooks', 'CC_PRE_BUILD_HOOK=hook.sh');
    const push = await repo.push(url);
    expect(push.stderr).toMatch(
      /uid=59213\(gantry-hook\) gid=59213\(gantry-hook\) groups=59213\(gantry-hook\)/,
    );
    expect(push.stderr).toMatch(/data: work *$/m);
    expect(push.stderr).toMatch(/CapBnd:\s+0000000000000000/);
    expect(push.stderr).toMatch(/docker: ECONNREFUSED/);
    expect(push.stderr).toContain('it listens on 127.0.0.1:8080 only');
    expect(push.code).toBe(1);
  });

  test('an updated Gantry replaces the old one, and no visitor notices', async () => {
    const visitors = new Visitors(project.httpPort, 'web.localhost', 100);
    const [server, haproxy] = [await project.inspect('server'), await project.inspect('haproxy')];
    project.env.GANTRY_LOG_LEVEL = 'debug';
    await project.do('up', '-d', '--build');
    expect((await project.inspect('server')).Id).not.toBe(server.Id);
    expect((await project.inspect('haproxy')).State.StartedAt).toBe(haproxy.State.StartedAt);
    await using repo = await appRepository('web', { version: 'three' });
    // A new app is a reload of the HAProxy that is in another container.
    expect((await repo.push(await project.pushUrl('other'))).code).toBe(0);
    expect((await project.request('other')).body).toBe('three');
    await visitors.leave();
    expect(visitors.failures).toEqual([]);
  });

  test('a router that was restarted has its routes before anybody tells it', async () => {
    const web = await project.pushUrl('web');
    await project.do('stop', 'server');
    await project.do('restart', 'haproxy');
    await until('the app answers', () =>
      project.request('web').then(
        (answer) => answer.body === 'two',
        () => false,
      ),
    );
    await project.do('start', 'server');
    await using repo = await appRepository('web', { version: 'four' });
    await until('the server is back', async () => (await repo.git('ls-remote', web)).code === 0);
    expect((await repo.push(await project.pushUrl('fourth'))).code).toBe(0);
    expect((await project.request('fourth')).body).toBe('four');
  });

  test('is taken down beside a worker that would start again what is missing', async () => {
    const storeId = (await project.exec('server', 'cat', '/data/store-id')).trim();
    const filters = { label: [`gantry.store=${storeId}`] };
    const left = () => localDocker().listContainers({ all: true, filters });
    expect(await left()).not.toEqual([]);
    await project.exec('worker', 'gantry', 'down', '--apps');
    // Longer than it waits between two looks.
    await new Promise((resolve) => setTimeout(resolve, 7000));
    expect(await left()).toEqual([]);
  });
});
