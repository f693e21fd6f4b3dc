import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type GitResult, resultOf, type TestFiles } from '../support/git.ts';
import { type Registry, registryPassword, registryUser } from '../support/registry.ts';
import { publish, serving } from '../support/registry-images.ts';
import { appRepository, type Rig } from '../support/rig.ts';

/** An app that is deployed again and again, and how. */
export type Subject = {
  readonly app: string;
  /** Makes what comes next: what the app says once it is live, and the commit that its branch is at then. */
  newVersion: () => Promise<{ version: string; commit: string | undefined }>;
  /** Asks for it and follows, as a person does. */
  deploy: () => Promise<GitResult>;
  /** What whoever uses it sees. */
  answer: () => Promise<string>;
  /** Whether it answers requests. */
  serves: boolean;
  /** How often a version ran, of what runs once. */
  timesRun?: (version: string) => Promise<number>;
  [Symbol.asyncDispose]: () => Promise<void>;
};

/** No two builds are the same: the cache of the engine is for all rigs. */
const newName = (): string => `version ${randomUUID()}`;

/** From git, with something to do for every step. */
export async function pushedApp(rig: Rig, registry: Registry): Promise<Subject> {
  const app = 'pushed';
  await rig.setEnv(app, {
    CC_DOCKER_LOGIN_SERVER: registry.host,
    CC_DOCKER_LOGIN_USERNAME: registryUser,
    CC_DOCKER_LOGIN_PASSWORD: registryPassword,
    CC_PRE_BUILD_HOOK: 'true',
    CC_POST_BUILD_HOOK: 'true',
    CC_PRE_RUN_HOOK: 'true',
    CC_RUN_SUCCEEDED_HOOK: 'true',
  });
  await set(rig, app, '--test-command', 'true', '--registry', `${registry.host}/chaos`);
  return { ...(await fromGit(rig, app)), answer: () => page(rig, app), serves: true };
}

/** An image that somebody else built. */
export async function pulledApp(rig: Rig, registry: Registry): Promise<Subject> {
  const app = 'pulled';
  const place = `${registry.host}/${app}`;
  const login = { GANTRY_DOCKER_PASSWORD: registryPassword };
  return {
    app,
    newVersion: async () => {
      const version = newName();
      await publish(registry.host, `${app}:latest`, { page: version, config: { Cmd: serving(8080) } });
      return { version, commit: undefined };
    },
    deploy: () => rig.gantryIn(login, 'deploy', app, '--image', place, '--username', registryUser),
    answer: () => page(rig, app),
    serves: true,
    [Symbol.asyncDispose]: async () => {},
  };
}

/** A task: it runs to its end, once, and what it printed is in the log. */
export async function ranApp(rig: Rig): Promise<Subject> {
  const app = 'ran';
  await rig.setEnv(app, {});
  await set(rig, app, '--task');
  await rig.gantry('volumes', 'add', app, 'marks:/marks');
  const script = 'echo "$(cat /version)" >>/marks/runs; echo "says $(cat /version)"';
  const command = JSON.stringify(['sh', '-c', script]);
  const files = { Dockerfile: `FROM gantry-test/base:1\nCOPY version /version\nCMD ${command}\n` };
  return {
    ...(await fromGit(rig, app, files)),
    answer: async () => {
      const number = await liveNumber(rig, app);
      const { stdout } = await rig.gantry('logs', '--app', app, '--deploy', String(number));
      return [...stdout.matchAll(/says (.*)/g)].at(-1)?.[1] ?? '';
    },
    serves: false,
    timesRun: async (version) => {
      const label = [`gantry.store=${await rig.storeId}`, `gantry.app=${app}`];
      const { Volumes } = await rig.docker.listVolumes({ filters: { label } });
      const marks = await readFile(join(Volumes[0]?.Mountpoint ?? '', 'runs'), 'utf8');
      return marks.split('\n').filter((line) => line === version).length;
    },
  };
}

export async function liveNumber(rig: Rig, app: string): Promise<number | null> {
  const { body } = await rig.api('GET', '/apps');
  const { apps } = JSON.parse(body) as { apps: { name: string; live: number | null }[] };
  return apps.find(({ name }) => name === app)?.live ?? null;
}

async function set(rig: Rig, app: string, ...options: string[]): Promise<void> {
  const { code, stderr } = await rig.gantry('apps', 'set', app, ...options);
  if (code !== 0) throw new Error(stderr);
}

async function page(rig: Rig, app: string): Promise<string> {
  return (await rig.request(app)).body.trim();
}

async function fromGit(rig: Rig, app: string, files: TestFiles = {}) {
  const repo = await appRepository('page', files);
  return {
    app,
    newVersion: async () => {
      const version = newName();
      return { version, commit: await repo.commit({ version }, version) };
    },
    deploy: async () => resultOf(repo.startPush(await rig.pushUrl(app))),
    [Symbol.asyncDispose]: () => repo[Symbol.asyncDispose](),
  };
}
