import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { gitClient } from '../support/git.ts';
import { leftovers } from '../support/leftovers.ts';
import { Onlooker } from '../support/onlooker.ts';
import { OwnEngine } from '../support/own-engine.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { Rig } from '../support/rig.ts';
import { Failpoints } from './failpoints.ts';
import { mountSmallDisk } from './small-disk.ts';
import { pulledApp, pushedApp, ranApp, type Subject } from './subjects.ts';

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

export type Deployment = {
  number: number;
  state: string;
  commit: string;
  trigger: string;
  reason: string | null;
};

/** How an app comes to its versions. */
export type Way = 'push' | 'image' | 'task';

/** What there is of its own, to be broken: the disk that its data is on, or the engine. */
export type Place = 'small disk' | 'own engine';

/** A Gantry whose processes can be stopped at failpoints, with apps that are live and a registry. */
export class Stage {
  readonly rig: Rig;
  readonly failpoints: Failpoints;
  readonly engine: OwnEngine | undefined;
  readonly #subjects = new Map<Way, Subject>();
  #registry: Registry | undefined;
  #onlooker: Onlooker | undefined;
  #disk: AsyncDisposable | undefined;

  private constructor(rig: Rig, failpoints: Failpoints, engine: OwnEngine | undefined) {
    this.rig = rig;
    this.failpoints = failpoints;
    this.engine = engine;
  }

  static async open(place: Place): Promise<Stage> {
    const failpoints = new Failpoints();
    const engine = place === 'own engine' ? await OwnEngine.start() : undefined;
    const env = {
      ...failpoints.env,
      GANTRY_HEALTH_TIMEOUT: '20',
      GANTRY_DISK_FLOOR: '16M',
      GANTRY_ALLOW_INTERNAL_ADDRESSES: '127.0.0.0/8',
    };
    const stage = new Stage(await Rig.make(env, engine), failpoints, engine);
    try {
      await stage.#build();
      return stage;
    } catch (error) {
      await stage[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #build(): Promise<void> {
    const { rig, engine } = this;
    // A mount would not be seen on the machine of an engine of its own.
    if (!engine) this.#disk = await mountSmallDisk(rig.dataDir, 256);
    this.#registry = await startRegistry(engine ? { engine } : {});
    await rig.start();
    // Nobody outside is reached from there, either.
    if (!engine) this.#onlooker = await Onlooker.of(rig);
    await this.#goLive('push', await pushedApp(rig, this.#registry));
    await this.#goLive('image', await pulledApp(rig, this.#registry));
    await this.#goLive('task', await ranApp(rig));
  }

  async #goLive(way: Way, subject: Subject): Promise<void> {
    this.#subjects.set(way, subject);
    await subject.newVersion();
    const { code, stdout, stderr } = await subject.deploy();
    if (code !== 0) throw new Error(stdout + stderr);
  }

  /** Hears what is told to webhooks. */
  get onlooker(): Onlooker | undefined {
    return this.#onlooker;
  }

  subject(way: Way): Subject {
    const subject = this.#subjects.get(way);
    if (!subject) throw new Error(`nothing is deployed by ${way}`);
    return subject;
  }

  /** A second worker beside the one that the server looks after, until it is disposed. */
  addWorker(): AsyncDisposable {
    const worker = spawn(process.execPath, [cli, 'worker'], { env: this.rig.env, stdio: 'ignore' });
    return {
      [Symbol.asyncDispose]: async () => {
        const exited = once(worker, 'exit');
        worker.kill('SIGTERM');
        await exited;
      },
    };
  }

  async deployments(app: string): Promise<Deployment[]> {
    const { status, body } = await this.rig.api('GET', `/apps/${app}/deployments`);
    if (status !== 200) throw new Error(body);
    return (JSON.parse(body) as { deployments: Deployment[] }).deployments;
  }

  async branch(app: string): Promise<string> {
    const url = await this.rig.pushUrl(app);
    const { stdout } = await gitClient().run(['ls-remote', url, 'refs/heads/main']);
    return stdout.split('\t')[0] ?? '';
  }

  /** Also what is known to the engine under the registry's name only: no release has it. */
  async leftovers(): Promise<string[]> {
    const images = await this.rig.docker.listImages();
    const host = this.#registry?.host ?? '';
    const nobodys = images.filter(({ RepoTags, RepoDigests }) => {
      const tags = (RepoTags ?? []).filter((tag) => !tag.startsWith('<none>'));
      const isFromThere = [...tags, ...(RepoDigests ?? [])].some((name) => name.startsWith(`${host}/`));
      return isFromThere && tags.every((tag) => tag.startsWith(`${host}/`));
    });
    return [...(await leftovers(this.rig)), ...nobodys.map(({ Id }) => `image that was pulled: ${Id}`)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.failpoints.release();
    for (const subject of this.#subjects.values()) await subject[Symbol.asyncDispose]();
    await this.rig[Symbol.asyncDispose]().catch(() => {}); // a mount point cannot be removed
    await this.#onlooker?.[Symbol.asyncDispose]();
    await this.#disk?.[Symbol.asyncDispose]();
    await this.#registry?.[Symbol.asyncDispose]();
    await this.engine?.[Symbol.asyncDispose]();
    this.failpoints[Symbol.dispose]();
  }
}
