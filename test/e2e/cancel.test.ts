import { randomUUID } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { resultOf } from '../support/git.ts';
import { inventory, settledInventory } from '../support/inventory.ts';
import { notesApp } from '../support/notes-app.ts';
import { killAll, processesWith } from '../support/processes.ts';
import { appRepository, Rig, until } from '../support/rig.ts';
import { Visitors } from '../support/visitor.ts';

/** Takes every connection and never says a word. */
class SilentServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  connections = 0;

  private constructor() {
    this.#server = createServer((socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => {});
      socket.resume(); // else it does not notice that somebody left
    });
  }

  static async start(): Promise<SilentServer> {
    const silent = new SilentServer();
    await new Promise<void>((resolve) => silent.#server.listen(0, '127.0.0.1', resolve));
    return silent;
  }

  get address(): string {
    const address = this.#server.address();
    return `127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
  }

  get open(): number {
    return this.#sockets.size;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

let rig: Rig;
let silent: SilentServer;
beforeAll(async () => {
  silent = await SilentServer.start();
  rig = await Rig.start({
    GANTRY_HEALTH_TIMEOUT: '60',
    GANTRY_STOP_TIMEOUT: '3',
    GANTRY_DRAIN_TIMEOUT: '10',
    GANTRY_CANCEL_ON_PUSH: 'false',
    GANTRY_ALLOW_INTERNAL_ADDRESSES: '127.0.0.0/8',
  });
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
  silent.close();
});
beforeEach(() => rig.explainFailures());

type App = Awaited<ReturnType<typeof appRepository>>;
type Shown = { number: number; state: string; reason: string | null; by: string };

async function deployment(app: string, number: number): Promise<Shown> {
  return JSON.parse((await rig.api('GET', `/apps/${app}/deployments/${number}`)).body) as Shown;
}

async function newest(app: string): Promise<number> {
  const { body } = await rig.api('GET', `/apps/${app}/deployments`);
  return (JSON.parse(body) as { deployments: Shown[] }).deployments[0]?.number ?? 0;
}

async function pushUntil(repo: App, app: string, sign: string | (() => Promise<boolean>)) {
  const child = repo.startPush(await rig.pushUrl(app));
  let output = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const result = resultOf(child);
  await until(`the push of ${app} gets to ${String(sign)}`, () =>
    typeof sign === 'string' ? output.includes(sign) : sign(),
  );
  return { result };
}

const plain = (line: string): string =>
  `FROM gantry-test/node:1\n${line}\nCOPY server.js version /app/\nCMD ["/usr/local/bin/node","/app/server.js"]\n`;

/** A program that runs as long as nobody ends it, and the argument to find it by. */
function endless(): { command: string; mark: string } {
  const mark = `9${Math.floor(Math.random() * 1e9)}`;
  return { command: `sleep ${mark}`, mark };
}

type Step = {
  step: string;
  /** What makes the deployment stay at the step. */
  env?: (command: string) => Record<string, string>;
  files?: (command: string) => Record<string, string>;
  options?: (command: string) => Record<string, string>;
  prepare?: (repo: App) => Promise<void>;
  /** It talks to a server that never answers; all others run the endless program. */
  isSilent?: true;
};

const steps: Step[] = [
  {
    step: 'the checkout, fetching a submodule',
    files: () => ({
      '.gitmodules': `[submodule "lib"]\n\tpath = lib\n\turl = https://${silent.address}/lib.git\n`,
    }),
    prepare: async (repo) => {
      await repo.git('update-index', '--add', '--cacheinfo', `160000,${'a'.repeat(40)},lib`);
      await repo.git('commit', '--quiet', '--message', 'Add a submodule');
    },
    isSilent: true,
  },
  {
    step: 'the login to a registry',
    env: () => ({
      CC_DOCKER_LOGIN_USERNAME: 'ana',
      CC_DOCKER_LOGIN_PASSWORD: 'the-password',
      CC_DOCKER_LOGIN_SERVER: silent.address,
    }),
    isSilent: true,
  },
  {
    step: 'the pull of a base image',
    files: () => ({ Dockerfile: `FROM ${silent.address}/base:1\n` }),
    isSilent: true,
  },
  { step: 'the pre-build hook', env: (command) => ({ CC_PRE_BUILD_HOOK: `setsid ${command} & ${command}` }) },
  { step: 'the build', files: (command) => ({ Dockerfile: plain(`RUN ${command}`) }) },
  {
    step: 'a build by the legacy builder',
    env: () => ({ CC_DOCKER_BUILDX: 'false' }),
    files: (command) => ({ Dockerfile: plain(`RUN ${command}`) }),
  },
  { step: 'the post-build hook', env: (command) => ({ CC_POST_BUILD_HOOK: command }) },
  { step: 'the test of the image', options: (command) => ({ testCommand: command }) },
  { step: 'the upload to a registry', options: () => ({ registry: silent.address }), isSilent: true },
  { step: 'the pre-run hook', env: (command) => ({ CC_PRE_RUN_HOOK: command }) },
  {
    step: 'the health check',
    files: (command) => ({ Dockerfile: `FROM gantry-test/node:1\nCMD ${command}\n` }),
  },
  {
    step: 'the hook after a failed start',
    env: (command) => ({ CC_RUN_FAILED_HOOK: command }),
    files: () => ({ Dockerfile: 'FROM gantry-test/node:1\nCMD ["false"]\n' }),
  },
  {
    step: 'the run of a task',
    env: () => ({ CC_TASK: 'true' }),
    files: (command) => ({ Dockerfile: `FROM gantry-test/node:1\nCMD ${command}\n` }),
  },
];

describe('a deployment that is cancelled leaves nothing, and what serves untouched, at', () => {
  const app = 'steps';
  let repo: App;
  let visitors: Visitors;
  let base: string;
  let before: string[];
  beforeAll(async () => {
    repo = await appRepository('web');
    await repo.push(await rig.pushUrl(app));
    base = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
    before = await settledInventory(rig);
    visitors = new Visitors(rig.httpPort, `${app}.localhost`, 50);
  });
  afterAll(async () => repo[Symbol.asyncDispose]());

  async function startAfresh(
    env: Record<string, string> = {},
    options: Record<string, string> = {},
  ): Promise<void> {
    await rig.api('PATCH', `/apps/${app}/options`, { testCommand: null, registry: null, ...options });
    const { body } = await rig.api('GET', `/apps/${app}/env`);
    const old = Object.keys((JSON.parse(body) as { env: Record<string, string> }).env);
    await rig.setEnv(app, { ...Object.fromEntries(old.map((name) => [name, null])), ...env });
    await repo.git('reset', '--quiet', '--hard', base);
  }

  test.each(steps)('$step', async ({ env, files, options, prepare, isSilent }) => {
    const { command, mark } = endless();
    await startAfresh(env?.(command), options?.(command));
    await repo.commit({ ...files?.(command), version: randomUUID() });
    await prepare?.(repo);
    const calls = silent.connections;
    const isThere = async (): Promise<boolean> =>
      isSilent ? silent.connections > calls : (await processesWith(mark)).length > 0;
    const push = await pushUntil(repo, app, isThere);

    const number = await newest(app);
    const cancel = await rig.gantry('deploys', 'cancel', String(number), '--app', app);
    expect(cancel.stderr).toBe(`deploy #${number} was asked to stop\ndeploy #${number} is cancelled\n`);
    expect(cancel.code).toBe(0);
    const end = await push.result;
    expect(end.stderr).toContain(`deploy #${number} cancelled: by admin`);
    expect(end.stderr).toContain('v1 is still serving');
    expect(end.code).toBe(1);
    expect(await deployment(app, number)).toMatchObject({
      state: 'cancelled',
      reason: 'cancelled: by admin',
    });

    await expect.poll(() => processesWith(mark), { timeout: 5000 }).toEqual([]);
    await expect.poll(() => inventory(rig), { timeout: 20_000 }).toEqual(before);
  });

  test('no step at all: the next push goes live, and no visitor noticed anything', async () => {
    await startAfresh();
    await repo.commit({ version: 'after all' });
    const push = await repo.push(await rig.pushUrl(app));
    expect(push.code).toBe(0);
    expect((await rig.request(app)).body).toBe('after all');
    await visitors.leave();
    expect(visitors.failures).toEqual([]);
    expect(new Set(visitors.versions)).toEqual(new Set(['one', 'after all']));
    // The engine's own question to a registry cannot be taken back; it gives up by itself.
    await expect.poll(() => silent.open, { timeout: 30_000 }).toBe(0);
  });
});

test('one that waits is cancelled at once, and the one before it goes on', async () => {
  const { command, mark } = endless();
  await using repo = await appRepository('web', { Dockerfile: plain('ARG HOLD=true\nRUN $HOLD') });
  await rig.setEnv('waiting', { HOLD: command });
  const first = await pushUntil(repo, 'waiting', async () => (await processesWith(mark)).length > 0);
  await repo.commit({ version: 'two' });
  const second = await pushUntil(repo, 'waiting', 'queued');
  const cancel = await rig.gantry('deploys', 'cancel', '2', '--app', 'waiting');
  expect(cancel.stderr).toBe('deploy #2 is cancelled\n');
  expect(cancel.code).toBe(0);
  expect((await second.result).stderr).toContain('cancelled: by admin');
  expect((await second.result).code).toBe(1);
  expect(await deployment('waiting', 2)).toMatchObject({ state: 'cancelled', reason: 'cancelled: by admin' });
  expect(await deployment('waiting', 1)).toMatchObject({ state: 'running' });

  // Exactly one: the next one starts as soon as the first is gone, too.
  await rig.setEnv('waiting', { HOLD: 'true' });
  await repo.commit({ version: 'three' });
  const third = await pushUntil(repo, 'waiting', 'queued');
  expect((await rig.gantry('deploys', 'cancel', '1', '--app', 'waiting')).code).toBe(0);
  expect((await first.result).code).toBe(1);
  expect((await third.result).code).toBe(0);
  expect((await rig.request('waiting')).body).toBe('three');
});

test('one that was stopped for is started again when what replaces it is cancelled', async () => {
  const { command, mark } = endless();
  await using repo = await appRepository('page', notesApp('v1'));
  await rig.setEnv('room', {});
  await rig.gantry('volumes', 'add', 'room', 'notes:/data');
  expect((await repo.push(await rig.pushUrl('room'))).code).toBe(0);
  const before = await settledInventory(rig);
  await repo.commit({ Dockerfile: `FROM gantry-test/node:1\nCMD ${command}\n` });
  const push = await pushUntil(repo, 'room', async () => (await processesWith(mark)).length > 0);
  expect((await rig.request('room')).status).toBe(503);
  expect((await rig.gantry('deploys', 'cancel', '2', '--app', 'room')).code).toBe(0);
  expect((await push.result).stderr).toMatch(/v1 is started again and serves/);
  expect((await rig.request('room')).body).toBe('v1: none');
  await expect.poll(() => inventory(rig), { timeout: 20_000 }).toEqual(before);
});

test('after the switch it is too late', async () => {
  const { command, mark } = endless();
  await using repo = await appRepository('web');
  await rig.setEnv('late', { CC_RUN_SUCCEEDED_HOOK: command });
  const push = await pushUntil(repo, 'late', async () => (await processesWith(mark)).length > 0);
  const late = await rig.gantry('deploys', 'cancel', '1', '--app', 'late');
  expect(late.stderr).toBe(
    'error: deploy #1 has ended or is past its switch; it cannot be cancelled\nhint: too late for that: gantry rollback brings the release before back\n',
  );
  expect(late.code).toBe(5);
  killAll((await processesWith(mark)).map((line) => Number.parseInt(line, 10)));
  expect((await push.result).code).toBe(0);
  expect(await deployment('late', 1)).toMatchObject({ state: 'live' });
  expect((await rig.gantry('deploys', 'cancel', '1', '--app', 'late')).code).toBe(5);
});
