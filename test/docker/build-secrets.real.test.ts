import { createHash, randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DockerodeEngine } from '../../src/docker/dockerode-engine.ts';
import type { RegistryLogin } from '../../src/domain/registry-login.ts';
import {
  type Registry,
  registryPassword,
  registryUser,
  startCuriousRegistry,
  startRegistry,
  startTokenRegistry,
} from '../support/registry.ts';
import { type Build, builders, EngineRun, processesRunning, until } from './engine-run.ts';

let run: EngineRun;
let registry: Registry;
let login: RegistryLogin;

beforeAll(async () => {
  run = await EngineRun.start();
  registry = await startRegistry();
  login = { host: registry.host, username: registryUser, password: registryPassword };
});

afterAll(async () => {
  await run?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
});

const never = new AbortController().signal;

describe('a login', () => {
  it('is taken when it is right', async () => {
    expect(await run.engine.checkLogin(login, never)).toEqual({ ok: true });
  });

  it('is refused when it is wrong', async () => {
    expect(await run.engine.checkLogin({ ...login, password: 'wrong' }, never)).toEqual({
      ok: false,
      reason: 'wrong user name or password',
    });
  });

  it('is refused when nobody answers', async () => {
    const result = await run.engine.checkLogin({ ...login, host: '127.0.0.1:1' }, never);
    expect(result).toMatchObject({ ok: false, reason: expect.stringContaining('connection refused') });
  });
});

describe.each(builders)('with %s a private base image', (builder) => {
  const buildFrom = (image: string, credentials?: RegistryLogin): Promise<Build> =>
    run.build(
      builder,
      { Dockerfile: `FROM ${image}\nLABEL ${run.label}\nRUN echo ${run.id} > /mark\n` },
      credentials && { credentials },
    );

  it('is pulled with its login, which is nowhere in the image', async () => {
    const image = await registry.push(`${builder}/right`);
    const { result, tag, events } = await buildFrom(image, login);
    expect(result).toMatchObject({ ok: true });
    const about = JSON.stringify([
      await run.docker.getImage(tag).inspect(),
      await run.docker.getImage(tag).history(),
      events,
    ]);
    expect(about).not.toContain(registryUser);
    expect(about).not.toContain(JSON.stringify(registryPassword).slice(1, -1));
  });

  it.each(['no', 'a wrong', 'another registry’s'])('is not pulled with %s login', async (which) => {
    const image = await registry.push(`${builder}/${which.replaceAll(/\W/g, '')}`);
    const credentials = {
      no: undefined,
      'a wrong': { ...login, password: 'wrong' },
      'another registry’s': { ...login, host: 'docker.io' },
    }[which];
    const { result } = await buildFrom(image, credentials);
    expect(result).toMatchObject({
      ok: false,
      reason: expect.stringMatching(/unauthorized|no basic auth credentials|401/i),
    });
  });

  it('is not pulled by the next app, which has no login', async () => {
    const image = await registry.push(`${builder}/mine`);
    const other = await registry.push(`${builder}/others`);
    expect((await buildFrom(image, login)).result).toMatchObject({ ok: true });
    expect((await buildFrom(other)).result).toMatchObject({ ok: false });
  });

  it('of a registry that wants a token of everybody is pulled without a login', async () => {
    await using open = await startTokenRegistry(registry);
    const image = await registry.push(`${builder}/public`);
    const { result } = await buildFrom(image.replace(registry.host, open.host));
    expect(result).toMatchObject({ ok: true });
  });

  it.each(['basic', 'bearer'] as const)(
    'of another registry that asks for a %s login is told nothing',
    async (scheme) => {
      await using curious = await startCuriousRegistry(scheme);
      const { result } = await buildFrom(`${curious.host}/evil/image:1`, login);
      expect(result).toMatchObject({ ok: false });
      expect(curious.requests.length).toBeGreaterThan(0);
      expect(curious.requests.filter(({ authorization }) => authorization !== undefined)).toEqual([]);
    },
  );

  it('of a registry that gives out tokens is asked for with the login', async () => {
    await using curious = await startCuriousRegistry('bearer');
    await buildFrom(`${curious.host}/private/image:1`, { ...login, host: curious.host });
    const token = curious.requests.find(({ path }) => path.startsWith('/token'));
    const basic = Buffer.from(`${registryUser}:${registryPassword}`).toString('base64');
    expect(token).toMatchObject({ authorization: `Basic ${basic}` });
  });
});

it('BuildKit asks for the login again when the next app builds on the same private image', async () => {
  const files = { Dockerfile: `FROM ${await registry.push('twice')}\nLABEL ${run.label}\n` };
  const first = await run.build('buildkit', files, { credentials: login });
  const second = await run.build('buildkit', files);
  expect([first.result.ok, second.result.ok]).toEqual([true, false]);
});

describe('a secret', () => {
  it('arrives byte for byte, and is nowhere in the image', async () => {
    const secrets: Record<string, string> = {
      LINES: '-----BEGIN KEY-----\none\n\n  two\t\n-----END KEY-----\n',
      BYTES: `quotes ' " \` $HOME \\ %41 Grüße 🚀 ${randomBytes(8).toString('hex')}`,
      LARGE: randomBytes(50 * 1024).toString('hex'),
      HUGE: randomBytes(512 * 1024).toString('hex'),
      EMPTY: '',
    };
    const names = Object.keys(secrets);
    const mounts = names.map((name) => `--mount=type=secret,id=${name},required=true`).join(' ');
    const { result, lines, events, tag } = await run.build(
      'buildkit',
      { Dockerfile: run.dockerfile(`RUN ${mounts} cd /run/secrets && sha256sum ${names.join(' ')}`) },
      { secrets, buildArgs: { LARGE: secrets.LARGE ?? '' } },
    );
    expect(result).toMatchObject({ ok: true });
    const digest = (name: string) =>
      createHash('sha256')
        .update(secrets[name] ?? '')
        .digest('hex');
    expect(lines).toEqual(names.map((name) => `${digest(name)}  ${name}`));

    const found = await run.printed(tag, [
      'sh',
      '-c',
      'ls -A /run/secrets; grep -rl "BEGIN KEY" /run /root /tmp /etc; true',
    ]);
    const about = JSON.stringify([
      await run.docker.getImage(tag).inspect(),
      await run.docker.getImage(tag).history(),
      events,
    ]);
    for (const value of ['BEGIN KEY', secrets.BYTES?.slice(-16) ?? '', secrets.LARGE?.slice(0, 40) ?? '']) {
      expect(about).not.toContain(value);
      expect(found.toString()).not.toContain(value);
    }
    const exported = await exportedBytes(tag);
    expect(exported.includes('one\n\n  two\t\n')).toBe(false);
    expect(exported.includes(secrets.LARGE?.slice(0, 40) ?? '')).toBe(false);
  });

  it('is still there after ten seconds of building', async () => {
    const { result, lines } = await run.build(
      'buildkit',
      { Dockerfile: run.dockerfile('RUN sleep 10', 'RUN --mount=type=secret,id=LATE cat /run/secrets/LATE') },
      { secrets: { LATE: 'still here' } },
    );
    expect(result).toMatchObject({ ok: true });
    expect(lines).toEqual(['still here']);
  });

  it('that is required and missing fails the build by name', async () => {
    const { result } = await run.build(
      'buildkit',
      { Dockerfile: run.dockerfile('RUN --mount=type=secret,id=toString,required=true true') },
      { secrets: {} },
    );
    expect(result).toMatchObject({
      ok: false,
      reason: expect.stringMatching(/: the secret toString is no variable of the app$/),
    });
  });

  it('that is missing and not required is only warned of', async () => {
    const { result, events } = await run.build('buildkit', {
      Dockerfile: run.dockerfile('RUN --mount=type=secret,id=TYPO test ! -e /run/secrets/TYPO'),
    });
    expect(result).toMatchObject({ ok: true });
    expect(events).toContainEqual({ kind: 'warning', text: expect.stringContaining('the secret TYPO') });
  });

  it('needs BuildKit', async () => {
    const { result } = await run.build(
      'legacy',
      { Dockerfile: run.dockerfile('RUN --mount=type=secret,id=X true') },
      { secrets: { X: 'x' } },
    );
    expect(result).toMatchObject({ ok: false, reason: expect.stringMatching(/BuildKit/) });
  });
});

describe('a login among the variables', () => {
  it.each(builders)(
    'never becomes a build argument of %s, even when the Dockerfile declares it',
    async (builder) => {
      const { result, lines, events, tag } = await run.build(
        builder,
        {
          Dockerfile: run.dockerfile(
            'ARG CC_DOCKER_LOGIN_PASSWORD',
            'ARG OTHER',
            'RUN echo "[$CC_DOCKER_LOGIN_PASSWORD] $OTHER"',
          ),
        },
        { buildArgs: { CC_DOCKER_LOGIN_PASSWORD: registryPassword, OTHER: 'other' } },
      );
      expect(result).toMatchObject({ ok: true });
      expect(lines).toEqual(['[] other']);
      expect(events.filter(({ kind }) => kind === 'warning').map(({ text }) => text)).toEqual([
        expect.stringContaining('ARG CC_DOCKER_LOGIN_PASSWORD stays empty'),
      ]);
      expect(JSON.stringify(await run.docker.getImage(tag).history())).not.toContain('colon: quote');
    },
  );
});

describe('the session with BuildKit', () => {
  it('is closed when the build ends, fails or is aborted', async () => {
    await using spy = await spyOnSessions();
    const build = async (instruction: string, signal = never): Promise<unknown> =>
      spy.engine.buildImage(
        {
          contextDir: await run.folder({ Dockerfile: run.dockerfile(instruction) }),
          dockerfile: 'Dockerfile',
          builder: 'buildkit',
          buildArgs: {},
          labels: run.labels,
          tag: `${run.name()}:1`,
          noCache: false,
          secrets: { KEY: 'value' },
        },
        async () => undefined,
        signal,
      );

    await build('RUN --mount=type=secret,id=KEY test "$(cat /run/secrets/KEY)" = value');
    await until('the session to be closed', async () => spy.sessions().open === 0, 2_000);
    expect(spy.sessions().opened).toBe(1);

    await build('RUN --mount=type=secret,id=KEY false');
    await until('the session to be closed', async () => spy.sessions().open === 0, 2_000);
    expect(spy.sessions().opened).toBe(2);

    const command = `sleep 8${Number.parseInt(run.id.slice(0, 6), 16)}`;
    const controller = new AbortController();
    const aborted = build(`RUN --mount=type=secret,id=KEY ${command}`, controller.signal);
    aborted.catch(() => undefined);
    await until('the command to run', async () => (await processesRunning(command)).length > 0);
    expect(spy.sessions()).toEqual({ opened: 3, open: 1 });
    controller.abort(new Error('cancelled'));
    await expect(aborted).rejects.toThrow('cancelled');
    await until('the session to be closed', async () => spy.sessions().open === 0, 2_000);
  });
});

/** The real engine behind a socket that counts the connections which become sessions. */
async function spyOnSessions() {
  const socketPath = join(tmpdir(), `gantry-spy-${run.id}.sock`);
  const all = new Set<Socket>();
  let opened = 0;
  let open = 0;
  const server = createServer((socket) => {
    const engine = connect('/var/run/docker.sock');
    all.add(socket).add(engine);
    socket.on('data', (chunk) => {
      // A connection may have carried other requests before.
      if (!chunk.toString('latin1').startsWith('POST /session')) return;
      opened += 1;
      open += 1;
      socket.once('close', () => {
        open -= 1;
      });
    });
    socket.on('error', () => engine.destroy()).on('close', () => engine.destroy());
    engine.on('error', () => socket.destroy()).on('close', () => socket.destroy());
    socket.pipe(engine).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  const engine = new DockerodeEngine({ socketPath });
  return {
    engine,
    sessions: () => ({ opened, open }),
    [Symbol.asyncDispose]: async () => {
      await engine.close();
      for (const socket of all) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      rmSync(socketPath, { force: true });
    },
  };
}

/** The whole image as it would be moved elsewhere: all layers and the configuration. */
async function exportedBytes(tag: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of await run.docker.getImage(tag).get()) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
