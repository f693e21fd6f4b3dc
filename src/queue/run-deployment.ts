import type { Attempt, DeployTools } from '../deploy/attempt.ts';
import { deploy } from '../deploy/deploy.ts';
import { DeployLog, seconds } from '../deploy/deploy-log.ts';
import { confirmSwitch, reportDrain } from '../deploy/switch-route.ts';
import type { AppName } from '../domain/app.ts';
import { shortSha } from '../domain/app.ts';
import { type AppSettings, parseAppSettings } from '../domain/app-settings.ts';
import { type Deployment, type DeployOutcome, type StopCause, Stopped } from '../domain/deployment.ts';
import { maskValues } from '../domain/mask.ts';
import { safeText } from '../domain/safe-text.ts';
import { messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { LogWriter } from '../store/log-writer.ts';
import type { RouteStore } from '../store/route-store.ts';
import type { AppLease } from './app-lease.ts';

export type RunDeps = {
  apps: AppStore;
  deployments: DeploymentStore;
  routes: RouteStore;
  tools: (lease: AppLease) => DeployTools;
  openLog: (deployment: Deployment, fence: number, mask: (text: string) => string) => LogWriter;
  appUrl: (app: AppName) => string;
  cancelOnPush: boolean;
  maxRuns: number;
  logger: Logger;
};

/** What became of one wake-up. `handed back`: the deployment is queued again, for another worker. */
export type RunResult = 'nothing to do' | 'finished' | 'handed back' | 'lost';

/** Runs the app's next deployment, if there is one, and writes down how it ended. Needs the app's lease. */
export async function runDeployment(app: AppName, lease: AppLease, deps: RunDeps): Promise<RunResult> {
  const deployment = await deps.deployments.claim(app, lease.fence, deps.maxRuns);
  if (!deployment) return 'nothing to do';
  const logger = deps.logger.child({ app, deployment: deployment.number });
  logger.info({ commit: deployment.commit, run: deployment.runs }, 'deployment started');

  let switched = deployment.switched;
  lease.watch(deployment.number, (cause) => canBeStopped(cause, switched, deps.cancelOnPush));

  const appEnv = deps.apps.openEnv(app, await deps.deployments.sealedEnv(app, deployment.number));
  const writer = deps.openLog(deployment, lease.fence, maskValues(appEnv));
  const log = new DeployLog((...lines) => writer.write(...lines));
  const serving = await servingRelease(deps, deployment);
  const tools = deps.tools(lease);
  const run = {
    deployment,
    appEnv,
    serving,
    log,
    signal: lease.signal,
    guard: () => lease.assertHeld(),
    tools: {
      ...tools,
      switchRoute: async (...args: Parameters<DeployTools['switchRoute']>) => {
        switched = true; // from here on only a lost lease stops it
        return tools.switchRoute(...args);
      },
    },
  };

  try {
    const outcome = deployment.switched ? await resumeSwitched(run, deps) : await begin(run);
    await conclude(outcome, run, deps);
    await writer.flush();
    const written = await deps.deployments.finish(app, deployment.number, lease.fence, endOf(outcome));
    logger.info({ outcome: outcome.kind, written }, 'deployment ended');
    return written ? 'finished' : 'lost';
  } catch (error) {
    // Whatever a library makes of an abort, the cause is in the signal.
    const stopped: unknown = lease.signal.aborted ? lease.signal.reason : error;
    if (!(stopped instanceof Stopped)) {
      logger.error({ err: error }, 'deployment broke');
      const reason = safeText(messageOf(error), 150);
      await log.failure(`deploy #${deployment.number} failed`, {
        reason,
        details: [reason],
        hints: hintsFor(run, deps),
      });
      await writer.flush();
      await deps.deployments.finish(app, deployment.number, lease.fence, {
        state: 'failed',
        reason: `failed: ${reason}`,
      });
      return 'finished';
    }
    return await endStopped(stopped.stop);
  }

  async function endStopped(cause: StopCause): Promise<RunResult> {
    logger.info({ cause: cause.kind }, 'deployment stopped');
    switch (cause.kind) {
      case 'lease lost':
        return 'lost'; // its log and its state are somebody else's by now
      case 'shutdown':
        await log.detail('the worker shuts down; another one takes over');
        await writer.flush();
        await deps.deployments.handBack(app, deployment?.number ?? 0, lease.fence);
        return 'handed back';
      case 'cancelled':
      case 'newer push': {
        const outcome: DeployOutcome =
          cause.kind === 'cancelled'
            ? { kind: 'cancelled', reason: cause.reason }
            : { kind: 'superseded', by: cause.by };
        await conclude(outcome, run, deps);
        await writer.flush();
        await deps.deployments.finish(app, run.deployment.number, lease.fence, endOf(outcome));
        return 'finished';
      }
    }
  }
}

type Run = Omit<Attempt, 'settings'>;

function canBeStopped(cause: StopCause, switched: boolean, cancelOnPush: boolean): boolean {
  if (cause.kind === 'lease lost') return true;
  if (switched) return false;
  return cause.kind !== 'newer push' || cancelOnPush;
}

async function begin(run: Run): Promise<DeployOutcome> {
  const { deployment, log } = run;
  if (deployment.runs > 1) await log.warning(`a worker was lost; deploy #${deployment.number} starts again`);
  const subject = deployment.subject === '' ? '' : ` "${safeText(deployment.subject, 70)}"`;
  const again = deployment.trigger === 'redeploy' ? ' again' : '';
  await log.heading(
    `Deploy #${deployment.number} of ${deployment.app}: ${shortSha(deployment.commit)}${subject}${again}`,
  );
  const parsed = parseAppSettings(run.appEnv);
  if ('problems' in parsed) {
    return {
      kind: 'failed',
      step: 'checkout',
      reason: parsed.problems[0] ?? '',
      details: parsed.problems.slice(1),
    };
  }
  return deploy({ ...run, settings: parsed.settings });
}

/** The worker that switched the route died before it could say so: the new release serves, only the ending is missing. */
async function resumeSwitched(run: Run, deps: RunDeps): Promise<DeployOutcome> {
  const route = await deps.routes.get(run.deployment.app);
  const attempt: Attempt = { ...run, settings: settingsOf(run) };
  const [live] = route?.live ?? [];
  if (!route || !live) throw new Error('the route of the switched release is gone');
  const problem = await confirmSwitch(attempt, route.version, live.container);
  if (problem) return { kind: 'failed', step: 'switch', ...problem };
  await reportDrain(attempt);
  return { kind: 'live' };
}

function settingsOf(run: Run): AppSettings {
  const parsed = parseAppSettings(run.appEnv);
  if ('problems' in parsed) throw new Error(parsed.problems.join('; '));
  return parsed.settings;
}

/** The lines at the end of the log, the same for whoever reads it. */
async function conclude(outcome: DeployOutcome, run: Run, deps: RunDeps): Promise<void> {
  const { deployment, log } = run;
  const { app, number } = deployment;
  const took = seconds(Date.now() - deployment.createdAt.getTime());
  switch (outcome.kind) {
    case 'live':
      await log.success(`${app} v${number} is live (${took})`);
      await log.detail(deps.appUrl(app));
      return;
    case 'failed':
      await log.failure(`deploy #${number} failed in "${outcome.step}" after ${took}`, {
        ...outcome,
        details: [outcome.reason, ...(outcome.details ?? [])],
        hints: [...(outcome.hints ?? []), ...hintsFor(run, deps)],
      });
      return;
    case 'cancelled':
      await log.failure(`deploy #${number} cancelled: ${outcome.reason}`, {
        reason: outcome.reason,
        hints: hintsFor(run, deps),
      });
      return;
    case 'superseded':
      await log.failure(`deploy #${number} superseded by #${outcome.by}`, { reason: '' });
  }
}

function hintsFor({ deployment, serving }: Run, deps: RunDeps): string[] {
  const { app, number } = deployment;
  const still = serving === undefined ? [] : [`v${serving} is still serving ${deps.appUrl(app)}`];
  return [
    ...still,
    `full log: gantry logs --app ${app} --deploy ${number}     retry: git push clever ${safeText(deployment.branch, 60)}`,
  ];
}

function endOf(outcome: DeployOutcome): {
  state: 'live' | 'failed' | 'cancelled' | 'superseded';
  reason?: string;
  supersededBy?: number;
} {
  switch (outcome.kind) {
    case 'live':
      return { state: 'live' };
    case 'failed':
      return { state: 'failed', reason: `failed in ${outcome.step}: ${outcome.reason}` };
    case 'cancelled':
      return { state: 'cancelled', reason: `cancelled: ${outcome.reason}` };
    case 'superseded':
      return { state: 'superseded', reason: `superseded by #${outcome.by}`, supersededBy: outcome.by };
  }
}

async function servingRelease(deps: RunDeps, deployment: Deployment): Promise<number | undefined> {
  const route = await deps.routes.get(deployment.app);
  const [live] = route?.live ?? [];
  if (live?.release !== deployment.number) return live?.release;
  return route?.draining.at(-1)?.release;
}
