import { randomUUID } from 'node:crypto';
import { type Account, isAdmin } from '../domain/account.ts';
import type { App } from '../domain/app.ts';
import type { AppOptions } from '../domain/app-options.ts';
import { regainedRights } from '../domain/go-back.ts';
import type { Release } from '../domain/release.ts';
import { UserError } from '../errors.ts';
import type { DeployQueue } from '../queue/deploy-queue.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { ReleaseStore } from '../store/release-store.ts';

export type RollBackDeps = {
  apps: AppStore;
  deployments: DeploymentStore;
  releases: ReleaseStore;
  queue: DeployQueue;
};

export type RollBack = (
  app: App,
  target: number | 'previous',
  account: Account,
) => Promise<{ number: number; release: number }>;

/**
 * Asks for image, variables and options of an earlier release as a new one. Returns the number of the deployment; throws
 * when that release cannot be gone back to.
 */
export function rollBack(deps: RollBackDeps): RollBack {
  return async (app, target, account) => {
    const { apps, deployments, releases, queue } = deps;
    const live = app.live === undefined ? undefined : await releases.get(app.name, app.live);
    if (!live)
      throw new UserError('CONFLICT', `${app.name} has nothing live to go back from`, 'git push clever main');
    const release = target === 'previous' ? await previous(deps, live) : await releases.get(app.name, target);
    if (!release) throw noSuchRelease(app, target);
    if (release.number === live.number)
      throw new UserError(
        'CONFLICT',
        `v${release.number} is live already`,
        'gantry releases lists the others',
      );
    if (isTask(await apps.options(app.name), await apps.env(app.name)))
      throw new UserError(
        'CONFLICT',
        `${app.name} is a task: nothing of it serves that a rollback could replace`,
        `run that commit again: gantry deploys retry ${release.number}`,
      );
    const env = apps.openEnv(app.name, await releases.sealedEnv(app.name, release.number));
    if (isTask(release.options, env))
      throw new UserError('CONFLICT', `v${release.number} was a run of a task, which cannot serve`);
    if (!release.isKept) throw imageIsFreed(release);
    if (!isAdmin(account)) checkRights(app, release, await apps.options(app.name));

    const { number } = await deployments.request({
      app: app.name,
      requestId: randomUUID(),
      trigger: 'rollback',
      commit: release.commit,
      pull: release.pull,
      subject: release.subject,
      branch: release.pull ? '' : app.branch,
      oldSha: live.commit,
      by: account.name,
      noCache: false,
      image: release.image,
      rollbackTo: release.number,
    });
    if (number === 0) throw imageIsFreed(release);
    await queue.wake(app.name);
    return { number, release: release.number };
  };
}

/** The one that was live before and did not crash; a restart that changed nothing is no other release. */
async function previous({ apps, releases }: RollBackDeps, live: Release): Promise<Release | undefined> {
  const { app } = live;
  const content = async (release: Release): Promise<string> => {
    const env = apps.openEnv(app, await releases.sealedEnv(app, release.number));
    const sorted = Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1));
    return JSON.stringify([release.imageId ?? release.image, release.options, sorted]);
  };
  const present = await content(live);
  for (const number of await releases.numbers(app)) {
    if (number >= live.number) continue;
    const release = await releases.get(app, number);
    if (release && !release.hasCrashed && (await content(release)) !== present) return release;
  }
  return undefined;
}

function noSuchRelease(app: App, target: number | 'previous'): UserError {
  return target === 'previous'
    ? new UserError('CONFLICT', `${app.name} has no earlier release to go back to`)
    : new UserError('NOT_FOUND', `${app.name} has no release v${target}`, 'list them: gantry releases');
}

function imageIsFreed({ number, pull }: Release): UserError {
  return new UserError(
    'CONFLICT',
    `the image of v${number} is gone: those of the last releases are kept (GANTRY_KEEP_RELEASES)`,
    `${pull ? 'pull it' : 'build its commit'} again: gantry deploys retry ${number}`,
  );
}

function isTask(options: AppOptions, env: Readonly<Record<string, string>>): boolean {
  return options.task || env.CC_TASK === 'true';
}

/** What administrators took from an app does not come back by itself. */
function checkRights(app: App, release: Release, now: AppOptions): void {
  const regained = regainedRights(release.options, now);
  if (regained.length > 0)
    throw new UserError(
      'FORBIDDEN',
      `v${release.number} had ${regained.join(' and ')}, which ${app.name} may not have now`,
      'an administrator can roll back to it',
    );
}
