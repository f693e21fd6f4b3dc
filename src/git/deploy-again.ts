import { randomUUID } from 'node:crypto';
import type { App } from '../domain/app.ts';
import { asGiven } from '../domain/image-reference.ts';
import { UserError } from '../errors.ts';
import type { DeployQueue } from '../queue/deploy-queue.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { ReleaseStore } from '../store/release-store.ts';
import type { Repositories } from './repositories.ts';

export type DeployAgainDeps = {
  deployments: DeploymentStore;
  releases: ReleaseStore;
  queue: DeployQueue;
  repositories: Repositories;
};

export type Again = { kind: 'restart' | 'start' | 'redeploy'; noCache: boolean; by: string };

/**
 * Asks for the live commit or image once more, with today's variables and options: `restart` and `start` in new
 * containers of the image it has, `redeploy` built again, or what its reference means by now. Returns the number of the
 * deployment; throws for an app that has nothing live.
 */
export function deployAgain(deps: DeployAgainDeps): (app: App, again: Again) => Promise<number> {
  return async (app, { kind, noCache, by }) => {
    const release = app.live === undefined ? undefined : await deps.releases.get(app.name, app.live);
    if (!release)
      throw new UserError('CONFLICT', `${app.name} has nothing live to ${kind}`, 'git push clever main');
    const { commit, pull, subject, image } = release;
    const { number } = await deps.deployments.request({
      app: app.name,
      requestId: randomUUID(),
      trigger: kind,
      commit,
      pull: kind === 'redeploy' ? pull && asGiven(pull) : pull,
      subject,
      branch: pull ? '' : app.branch,
      oldSha: commit,
      by,
      noCache,
      image: kind === 'redeploy' ? undefined : image,
    });
    if (!pull) await deps.repositories.open(app.name).pin(String(number), commit);
    await deps.queue.wake(app.name);
    return number;
  };
}
