import type { Redis } from 'ioredis';
import { startStopped } from '../../src/api/lifecycle-routes.ts';
import type { AppName, CommitSha } from '../../src/domain/app.ts';
import { parseImageReference } from '../../src/domain/image-reference.ts';
import { UserError } from '../../src/errors.ts';
import { deployAgain } from '../../src/git/deploy-again.ts';
import type { Repositories } from '../../src/git/repositories.ts';
import { rollBack } from '../../src/git/roll-back.ts';
import { deployImage } from '../../src/queue/deploy-image.ts';
import { DeployQueue } from '../../src/queue/deploy-queue.ts';
import { openStores } from './stores.ts';

/** What an app must come to: that deployment, or any with these variables, or nothing. */
export type Finale = { number?: number; colour: string; isStopped: boolean };

const finales = ['push', 'image', 'stop', 'start'] as const;

type Stores = Awaited<ReturnType<typeof openStores>>;

/** Everything the model asks for, and what it must come to. */
export class World {
  readonly redis: Redis;
  readonly stores: Stores;
  readonly queue: DeployQueue;
  readonly asked = new Map<string, number>();
  /** The live releases of each app, in the order in which the router was told of them. */
  readonly served = new Map<string, number[]>();

  private constructor(connect: () => Redis, stores: Stores) {
    this.redis = connect();
    this.stores = stores;
    this.queue = new DeployQueue(connect());
  }

  static async open(connect: () => Redis, dir: string): Promise<World> {
    return new World(connect, await openStores(connect(), dir));
  }

  count(what: string): void {
    this.asked.set(what, (this.asked.get(what) ?? 0) + 1);
  }

  async push(app: AppName, commit: string, trigger: 'push' | 'webhook', requestId: string): Promise<number> {
    const { number } = await this.stores.deployments.request({
      app,
      requestId,
      trigger,
      commit: commit as CommitSha,
      pull: undefined,
      subject: '',
      branch: 'main',
      oldSha: '0'.repeat(40),
      by: 'model',
      noCache: false,
      image: undefined,
    });
    await this.queue.wake(app);
    return number;
  }

  /** Also what a tag means changes each time somebody asks. */
  async deployImage(app: AppName, commit: string): Promise<number> {
    const reference = parseImageReference(`127.0.0.1:1/${app}:${commit.slice(0, 8)}`);
    if ('problem' in reference) throw new Error(reference.problem);
    return deployImage({ ...this.stores, queue: this.queue })(app, reference, 'model');
  }

  async stop(app: AppName): Promise<void> {
    await this.stores.deployments.stop(app, 'model');
    await this.queue.wake(app);
  }

  /** There is no git here that would keep a commit. */
  async start(app: AppName): Promise<number | undefined> {
    const found = await this.stores.apps.get(app);
    if (found?.live === undefined || !found.stopped) return undefined;
    const repositories = { open: () => ({ pin: async () => {} }) } as unknown as Repositories;
    const { deployments, releases } = this.stores;
    const again = deployAgain({ deployments, releases, queue: this.queue, repositories });
    return startStopped({ deployments, deployAgain: again }, found, 'model');
  }

  async goBack(app: AppName): Promise<void> {
    const found = await this.stores.apps.get(app);
    const account = { tokenId: 'model', name: 'model', scopes: ['admin' as const] };
    if (!found) return;
    await rollBack({ ...this.stores, queue: this.queue })(found, 'previous', account).catch(
      (error: unknown) => {
        if (!(error instanceof UserError)) throw error; // there may be nothing to go back to
      },
    );
  }

  /** As the crash watch does it, which may have looked before the app was stopped. */
  async crash(app: AppName): Promise<void> {
    const { apps, deployments, releases } = this.stores;
    const live = (await apps.get(app))?.live;
    const before = live === undefined ? undefined : await deployments.liveBefore(app, live);
    const release = before === undefined ? undefined : await releases.get(app, before);
    if (live === undefined || !release?.isKept) return;
    await deployments.request({
      app,
      requestId: `crash-${app}-${live}`,
      trigger: 'crash',
      commit: release.commit,
      pull: release.pull,
      subject: '',
      branch: release.pull ? '' : 'main',
      oldSha: '0'.repeat(40),
      by: 'gantry',
      noCache: false,
      image: release.image,
      rollbackTo: release.number,
      crash: { of: live, reason: 'crashed', lastLines: [] },
    });
    await this.queue.wake(app);
  }

  /** One thing that somebody may do to an app. */
  async act(app: AppName, random: () => number, commit: string): Promise<void> {
    const dice = random();
    const { apps, deployments } = this.stores;
    if (dice < 0.32) {
      this.count('pushes');
      await this.push(app, commit, 'push', `${app}-${commit}`);
    } else if (dice < 0.4) {
      this.count('images');
      await this.deployImage(app, commit);
    } else if (dice < 0.48) {
      this.count('pushes of the same commit');
      const desired = await deployments.desired(app);
      await this.push(app, desired?.commit || commit, 'push', `${app}-${commit}-same`);
    } else if (dice < 0.57) {
      this.count('deliveries, each twice');
      const numbers = [
        await this.push(app, commit, 'webhook', `${app}-${commit}-hook`),
        await this.push(app, commit, 'webhook', `${app}-${commit}-hook`),
      ];
      if (numbers[1] !== numbers[0])
        throw new Error(`one delivery made the deployments ${numbers.join()} of ${app}`);
    } else if (dice < 0.66) {
      this.count('rollbacks');
      await this.goBack(app);
    } else if (dice < 0.78) {
      this.count('cancels');
      const desired = await deployments.desired(app);
      if (desired) await deployments.cancel(app, desired.number, 'by model');
      await this.queue.wake(app);
    } else if (dice < 0.83) {
      this.count('stops');
      await this.stop(app);
    } else if (dice < 0.88) {
      this.count('starts');
      await this.start(app);
    } else if (dice < 0.96) {
      this.count('changes of variables');
      await apps.changeEnv(app, { set: { COLOUR: commit }, unset: [] });
    } else {
      this.count('crashes');
      await this.crash(app);
    }
  }

  /** What is asked last of all, with variables of its own. */
  async end(app: AppName, random: () => number, commit: string): Promise<Finale> {
    const kind = finales[Math.floor(random() * finales.length)];
    const colour = { set: { COLOUR: commit }, unset: [] };
    await this.stores.apps.changeEnv(app, colour);
    if (kind === 'image')
      return { number: await this.deployImage(app, commit), colour: commit, isStopped: false };
    const number = await this.push(app, commit, 'push', `${app}-last`);
    if (kind === 'push') return { number, colour: commit, isStopped: false };
    await this.stop(app);
    if (kind === 'stop') {
      await this.crash(app);
      return { colour: commit, isStopped: true };
    }
    await this.stores.apps.changeEnv(app, colour);
    const started = await this.start(app);
    return { ...(started && { number: started }), colour: commit, isStopped: started === undefined };
  }
}
