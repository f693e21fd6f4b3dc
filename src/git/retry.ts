import { randomUUID } from 'node:crypto';
import type { Account } from '../domain/account.ts';
import { type App, shortSha } from '../domain/app.ts';
import { isFinal } from '../domain/deployment.ts';
import { showSource } from '../domain/source.ts';
import { UserError } from '../errors.ts';
import type { DeployAgainDeps } from './deploy-again.ts';
import type { RollBack } from './roll-back.ts';

/**
 * Asks once more for what a deployment was to make live, with the variables and options of now: its commit, built, its
 * image, by the digest it had if that is known, or for a rollback its release. Returns the number of the new deployment.
 */
export function retry(
  deps: DeployAgainDeps & { rollBack: RollBack },
): (app: App, number: number, account: Account) => Promise<number> {
  return async (app, number, account) => {
    const { deployments, queue, repositories } = deps;
    const old = await deployments.get(app.name, number);
    if (!old) throw new UserError('NOT_FOUND', `there is no deploy #${number}`, 'list them: gantry deploys');
    if (!isFinal(old.state))
      throw new UserError(
        'CONFLICT',
        `deploy #${number} is ${old.state}: it has not ended yet`,
        `gantry logs --app ${app.name} --deploy ${number}   or   gantry deploys cancel ${number} --app ${app.name}`,
      );
    if (app.live === number)
      throw new UserError(
        'CONFLICT',
        `deploy #${number} is live as v${number}`,
        `build it again: gantry redeploy --app ${app.name}`,
      );
    if (old.rollbackTo !== undefined && old.state !== 'live')
      return (await deps.rollBack(app, old.rollbackTo, account)).number;

    const { commit, pull, subject, branch, noCache } = old;
    const desired = await deployments.desired(app.name);
    if (desired && !isFinal(desired.state) && showSource(desired) === showSource(old))
      throw new UserError(
        'CONFLICT',
        `${showSource(old)} is being deployed as #${desired.number}`,
        `gantry logs --app ${app.name} --deploy ${desired.number}`,
      );
    const isThere =
      !pull &&
      (await repositories.exists(app.name)) &&
      (await repositories.open(app.name).commitInfo(commit));
    if (!pull && !isThere)
      throw new UserError(
        'CONFLICT',
        `the commit ${shortSha(commit)} of deploy #${number} is not in the repository any more`,
        `push it again: git push --force clever ${shortSha(commit)}:${branch}`,
      );
    const asked = await deployments.request({
      app: app.name,
      requestId: randomUUID(),
      trigger: 'retry',
      commit,
      pull,
      subject,
      branch,
      oldSha: old.oldSha,
      by: account.name,
      noCache,
      image: undefined,
    });
    if (!pull) await repositories.open(app.name).pin(String(asked.number), commit);
    await queue.wake(app.name);
    return asked.number;
  };
}
