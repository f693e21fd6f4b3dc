import type { AppName } from '../domain/app.ts';
import { isFinal } from '../domain/deployment.ts';
import type { Logger } from '../logger.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { LogReader } from '../store/log-reader.ts';
import type { BranchKeeper } from './branch-keeper.ts';
import type { Repositories } from './repositories.ts';

/** How many of an app's latest deployments are looked at after a start. */
const lookBack = 20;

type Deps = {
  apps: AppStore;
  deployments: DeploymentStore;
  logs: LogReader;
  branches: BranchKeeper;
  repositories: Repositories;
  logger: Logger;
};

/** What is left to do when a deployment has ended: keep its log, see to its branch, let go of its commit. */
export class FinishedDeployments {
  readonly #deps: Deps;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** Fine to repeat. */
  async putAway(app: AppName, number: number): Promise<void> {
    const { apps, deployments, logs, branches, repositories, logger } = this.#deps;
    try {
      const deployment = await deployments.get(app, number);
      if (!deployment || !isFinal(deployment.state)) return;
      const isLive = async (): Promise<boolean> => (await apps.get(app))?.live === number;
      if (await isLive()) {
        if (deployment.trigger === 'push') branches.settleLater(deployment, isLive);
        else await branches.follow(deployment);
      }
      await logs.archive(app, number, deployment.state);
      if (await repositories.exists(app)) await repositories.open(app).unpin(String(number));
    } catch (err) {
      logger.warn(
        { app, deployment: number, err },
        'a finished deployment was not put away; the next start tries again',
      );
    }
  }

  /** What ended while no server ran. */
  async putAllAway(): Promise<void> {
    const { apps, deployments } = this.#deps;
    for (const { name } of await apps.list()) {
      for (const { number } of await deployments.list(name, lookBack)) await this.putAway(name, number);
    }
  }
}
