import type { AppName } from '../domain/app.ts';
import { type Deployment, isFinal } from '../domain/deployment.ts';
import type { Logger } from '../logger.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { LogReader } from '../store/log-reader.ts';
import type { BranchKeeper } from './branch-keeper.ts';
import type { KilledGit } from './killed-git.ts';
import type { Repositories } from './repositories.ts';

/** How many of an app's latest deployments are looked at. */
const lookBack = 20;
const lookEveryMs = 30_000;

type Deps = {
  apps: AppStore;
  deployments: DeploymentStore;
  logs: LogReader;
  branches: BranchKeeper;
  repositories: Repositories;
  killedGit: KilledGit;
  logger: Logger;
};

/** What is left to do when a deployment has ended: keep its log, see to its branch, let go of its commit. */
export class FinishedDeployments {
  readonly #deps: Deps;
  #done = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** Fine to repeat. */
  async putAway(app: AppName, number: number): Promise<void> {
    const { deployments, logs, branches, repositories, logger } = this.#deps;
    try {
      const deployment = await deployments.get(app, number);
      if (!deployment || !isFinal(deployment.state)) return;
      if (deployment.state === 'live') await branches.follow(deployment);
      await logs.archive(app, number, deployment.state);
      if (await repositories.exists(app)) await repositories.open(app).unpin(String(number));
      this.#done.add(keyOf(deployment));
    } catch (err) {
      logger.warn(
        { app, deployment: number, err },
        'a finished deployment was not put away; it is tried again',
      );
    }
  }

  /** Looks now and again also for what ended while no server ran, or while it could not be told. */
  start(): void {
    void this.#putAllAway().then(() => {
      if (!this.#isStopped) this.#timer = setTimeout(() => this.start(), lookEveryMs);
    });
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  /** Somebody may have moved it by hand. */
  async #putBranchRight(app: AppName, live: number): Promise<void> {
    const { deployments, branches, logger } = this.#deps;
    const deployment = await deployments.get(app, live);
    if (deployment?.state !== 'live') return;
    await branches
      .follow(deployment)
      .catch((err: unknown) => logger.warn({ app, err }, 'branch was not put right'));
  }

  /** A commit that is held for a deployment that has ended, however that came about. */
  async #letGoOfForgotten(app: AppName): Promise<void> {
    const { deployments, repositories, logger } = this.#deps;
    const repository = repositories.open(app);
    for (const pin of await repository.pins()) {
      const deployment = await deployments.get(app, Number(pin));
      if (deployment && (!isFinal(deployment.state) || hasJustEnded(deployment))) continue;
      logger.warn({ app, deployment: pin }, 'a commit was still held for a deployment that has ended');
      await repository
        .unpin(pin)
        .catch((err: unknown) => logger.warn({ app, deployment: pin, err }, 'it is still held'));
    }
  }

  async #putAllAway(): Promise<void> {
    const { apps, deployments, killedGit, logger } = this.#deps;
    try {
      const listed: Deployment[] = [];
      const all = await apps.list();
      for (const { name, live } of all) {
        await killedGit.removeLocks(name);
        listed.push(...(await deployments.list(name, lookBack)));
        if (live !== undefined) await this.#putBranchRight(name, live);
      }
      this.#done = new Set(listed.map(keyOf).filter((key) => this.#done.has(key)));
      for (const deployment of listed)
        if (!this.#done.has(keyOf(deployment))) await this.putAway(deployment.app, deployment.number);
      for (const { name } of all) await this.#letGoOfForgotten(name);
    } catch (err) {
      logger.debug({ err }, 'finished deployments could not be looked at');
    }
  }
}

/** It may be on its way of being put away. */
function hasJustEnded({ endedAt }: Deployment): boolean {
  return endedAt !== undefined && Date.now() - endedAt.getTime() < 5000;
}

/** A deleted app may have had a namesake. */
function keyOf({ app, number, endedAt }: Deployment): string {
  return `${app}/${number}/${endedAt?.getTime()}`;
}
