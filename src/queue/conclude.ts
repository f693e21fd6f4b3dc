import type { Attempt } from '../deploy/attempt.ts';
import { seconds } from '../deploy/deploy-log.ts';
import type { AppName } from '../domain/app.ts';
import type { Deployment, DeploymentState, DeployOutcome, Step } from '../domain/deployment.ts';
import { EngineAway } from '../domain/engine-away.ts';
import { safeText } from '../domain/safe-text.ts';
import { machineRefusal, messageOf } from '../errors.ts';

/** An attempt before it is known what the app's settings are. */
export type Run = Omit<Attempt, 'settings'>;

/** Something of ours or of the machine failed, not the app. */
export type Broken = { kind: 'broken'; reason: string; hints?: readonly string[]; step?: Step };

/** What a person is told of an error that nobody expected. */
export function brokenBy(error: unknown): Broken {
  const refusal = machineRefusal(error);
  return {
    kind: 'broken',
    reason: refusal?.reason ?? safeText(messageOf(error), 150),
    ...(refusal && { hints: [refusal.fix] }),
    ...(error instanceof EngineAway && error.step !== undefined && { step: error.step }),
  };
}

export type Ending = { state: DeploymentState; reason?: string; supersededBy?: number; step?: Step };

/** The lines at the end of the log, the same for whoever reads it. */
export async function conclude(
  outcome: DeployOutcome | Broken,
  run: Run,
  appUrl: (app: AppName) => string,
): Promise<void> {
  const { deployment, log } = run;
  const { app, number } = deployment;
  const took = seconds(Date.now() - deployment.createdAt.getTime());
  switch (outcome.kind) {
    case 'live':
      if (outcome.ranMs !== undefined) {
        await log.success(`${app} v${number} ran in ${seconds(outcome.ranMs)} (exit 0)`);
        return;
      }
      await log.success(`${app} v${number} is live (${took})`);
      await log.detail(appUrl(app));
      if (deployment.crashOf !== undefined)
        await log.detail(`the same as v${deployment.rollbackTo}, because v${deployment.crashOf} crashed`);
      else if (deployment.rollbackTo !== undefined)
        await log.detail(`the same as v${deployment.rollbackTo}; gantry rollback undoes it`);
      return;
    case 'failed':
      await log.failure(`deploy #${number} failed in "${outcome.step}" after ${took}`, {
        ...outcome,
        details: [outcome.reason, ...(outcome.details ?? [])],
        hints: [...(outcome.hints ?? []), ...hintsFor(run, appUrl)],
      });
      return;
    case 'broken':
      await log.failure(
        `deploy #${number} failed${outcome.step ? ` in "${outcome.step}"` : ''} after ${took}`,
        {
          reason: outcome.reason,
          details: [outcome.reason],
          hints: [...(outcome.hints ?? []), ...hintsFor(run, appUrl)],
        },
      );
      return;
    case 'cancelled':
      await log.failure(`deploy #${number} cancelled: ${outcome.reason}`, {
        reason: outcome.reason,
        hints: hintsFor(run, appUrl),
      });
      return;
    case 'superseded':
      await log.failure(`deploy #${number} superseded by #${outcome.by}`, { reason: '' });
  }
}

function hintsFor({ deployment, serving }: Run, appUrl: (app: AppName) => string): string[] {
  const { app, number } = deployment;
  const still = serving === undefined ? [] : [`v${serving} is still serving ${appUrl(app)}`];
  return [
    ...still,
    `full log: gantry logs --app ${app} --deploy ${number}     retry: ${retryOf(deployment)}`,
  ];
}

/** git says "Everything up-to-date" about a commit whose branch is there. */
function retryOf({ app, number, branch, trigger }: Deployment): string {
  return trigger === 'push'
    ? `git push clever ${safeText(branch, 60)}`
    : `gantry deploys retry ${number} --app ${app}`;
}

/** The same for the store: one line that also fits git's status line. */
export function endingOf(outcome: DeployOutcome | Broken, mask: (text: string) => string): Ending {
  switch (outcome.kind) {
    case 'live':
      return { state: 'live' };
    case 'failed':
      return {
        state: 'failed',
        reason: mask(`failed in ${outcome.step}: ${outcome.reason}`),
        step: outcome.step,
      };
    case 'broken':
      return {
        state: 'failed',
        reason: mask(`failed${outcome.step ? ` in ${outcome.step}` : ''}: ${outcome.reason}`),
        ...(outcome.step && { step: outcome.step }),
      };
    case 'cancelled':
      return { state: 'cancelled', reason: `cancelled: ${outcome.reason}` };
    case 'superseded':
      return { state: 'superseded', reason: `superseded by #${outcome.by}`, supersededBy: outcome.by };
  }
}
