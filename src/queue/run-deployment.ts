import { type Attempt, type DeployTools, isTask, type Owned } from '../deploy/attempt.ts';
import { deploy } from '../deploy/deploy.ts';
import { DeployLog } from '../deploy/deploy-log.ts';
import { emptyApp } from '../deploy/empty-app.ts';
import { stopApp } from '../deploy/stop-app.ts';
import { resumeServing } from '../deploy/stop-first.ts';
import { confirmSwitch, reportDrain } from '../deploy/switch-route.ts';
import type { AppName } from '../domain/app.ts';
import { type AppSettings, parseAppSettings, withOptions } from '../domain/app-settings.ts';
import { type Deployment, type DeployOutcome, type StopCause, Stopped } from '../domain/deployment.ts';
import { type EnvChanges, envChanges, showEnvChanges } from '../domain/env-changes.ts';
import { maskValues } from '../domain/mask.ts';
import type { Release } from '../domain/release.ts';
import { safeText } from '../domain/safe-text.ts';
import { secretsOf } from '../domain/service-env.ts';
import { showSource } from '../domain/source.ts';
import { failpoint } from '../failpoint.ts';
import type { Logger } from '../logger.ts';
import type { AppDeletions } from '../store/app-deletions.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { LogWriter } from '../store/log-writer.ts';
import type { ReleaseStore } from '../store/release-store.ts';
import type { RouteStore } from '../store/route-store.ts';
import type { ServiceStore } from '../store/service-store.ts';
import type { TcpPortStore } from '../store/tcp-port-store.ts';
import type { AppLease } from './app-lease.ts';
import { type Broken, brokenBy, conclude, type Ending, endingOf, type Run } from './conclude.ts';

export type RunDeps = {
  apps: AppStore;
  deletions: AppDeletions;
  deployments: DeploymentStore;
  releases: ReleaseStore;
  routes: RouteStore;
  tcpPorts: TcpPortStore;
  services: ServiceStore;
  /** Its host names. */
  hosts: (app: AppName) => Promise<string[]>;
  tools: (lease: AppLease) => DeployTools;
  openLog: (deployment: Deployment, fence: number, mask: (text: string) => string) => LogWriter;
  appUrl: (app: AppName) => string;
  cancelOnPush: boolean;
  maxRuns: number;
  logger: Logger;
};

/** Within the time of a lease that nobody renews yet. */
const answerLimitMs = 5000;

/** What became of one wake-up. `handed back`: the deployment is queued again, for another worker. */
export type RunResult = 'nothing to do' | 'finished' | 'handed back' | 'lost';

type Prepared = Run & {
  /** What it is to replace. */
  live: Release | undefined;
  flush: () => Promise<void>;
};

/** Runs the app's next deployment, if there is one, and writes down how it ended. Needs the app's lease. */
export async function runDeployment(app: AppName, lease: AppLease, deps: RunDeps): Promise<RunResult> {
  lease.keep();
  if (await catchUp(app, lease, deps)) return 'nothing to do';
  await failpoint('before claim');
  const deployment = await deps.deployments.claim(app, lease.fence, deps.maxRuns);
  if (!deployment) return 'nothing to do';
  const logger = deps.logger.child({ app, deployment: deployment.number });
  logger.info({ source: showSource(deployment), run: deployment.runs }, 'deployment started');
  await failpoint('after claim');
  const end = (outcome: Ending): Promise<boolean> =>
    deps.deployments.finish(app, deployment.number, lease.fence, outcome);

  let run: Prepared;
  try {
    run = await prepare(deployment, lease, deps);
  } catch (error) {
    logger.error({ err: error }, 'deployment could not be prepared');
    await end(endingOf(brokenBy(error), (text) => text));
    return 'finished';
  }

  let outcome: DeployOutcome | Broken;
  try {
    outcome = deployment.switched ? await resumeSwitched(run, deps) : await begin(run);
  } catch (error) {
    // Whatever a library makes of an abort, the cause is in the signal.
    const stopped: unknown = lease.signal.aborted ? lease.signal.reason : error;
    if (stopped instanceof Stopped) {
      logger.info({ cause: stopped.stop.kind }, 'deployment stopped');
      const unended = await giveUp(stopped.stop, run, deps, lease.fence);
      if (unended !== undefined) return unended;
      outcome = outcomeOfStop(stopped.stop);
    } else {
      logger.error({ err: error }, 'deployment broke');
      outcome = await endOfBroken(error, run, deps);
    }
  }
  // A release that was stopped to make room for this one may not have come back.
  const serving = outcome.kind === 'live' ? run.serving : await servingRelease(deps, deployment);
  await conclude(outcome, { ...run, serving }, deps.appUrl);
  await run.flush();
  await failpoint('before end');
  const written = await end(endingOf(outcome, run.mask));
  await failpoint('after end');
  logger.info({ outcome: outcome.kind, written }, 'deployment ended');
  return written ? 'finished' : 'lost';
}

/** What comes before anything that waits: a push to an app that is stopped starts it. Answers whether the app is gone. */
async function catchUp(name: AppName, lease: AppLease, deps: RunDeps): Promise<boolean> {
  const tools = deps.tools(lease);
  const owned = { tools, guard: () => lease.assertHeld() };
  const [app, paused] = await Promise.all([deps.apps.get(name), tools.paused(name)]);
  if (app?.stopped && !app.stopped.isDone)
    await stopApp(owned, name).then(
      (isStopped) => isStopped && deps.logger.info({ app: name }, 'app stopped'),
      (err: unknown) =>
        deps.logger.error({ err, app: name }, 'the app could not be stopped; it is tried again'),
    );
  if (app?.isDeleted && (await emptyIfDeleted(name, owned, deps))) return true;
  // A worker died while nothing served.
  if (paused.length > 0)
    await resumeServing(owned, name, answerLimitMs).catch((err: unknown) =>
      deps.logger.error({ err, app: name }, 'what served could not be started again; it is tried again'),
    );
  return false;
}

/** Whether the app is to go. A deployment past its switch is brought to its end first, as for a stop. */
async function emptyIfDeleted(app: AppName, owned: Owned, deps: RunDeps): Promise<boolean> {
  const deletion = await deps.deletions.get(app);
  if (!deletion || (await deps.apps.get(app))?.stopped?.isDone !== true) return false;
  try {
    await emptyApp(owned, app, deletion.deleteData);
    await owned.tools.markEmptied(app);
    deps.logger.info({ app, by: deletion.by }, 'app emptied');
  } catch (err) {
    deps.logger.error({ err, app }, 'the app could not be emptied; it is tried again');
  }
  return true;
}

async function prepare(deployment: Deployment, lease: AppLease, deps: RunDeps): Promise<Prepared> {
  const { app } = deployment;
  let switched = deployment.switched;
  const appEnv = deps.apps.openEnv(app, await deps.deployments.sealedEnv(app, deployment.number));
  // As on Clever Cloud: a task is not cut short by a newer push, which waits.
  const isPatient = !deps.cancelOnPush || deployment.options.task || appEnv.CC_TASK === 'true';
  lease.watch(deployment.number, (cause) => canBeStopped(cause, switched, !isPatient));
  const tools = deps.tools(lease);
  const [services, appId, hosts, tcpPort, serving, live] = await Promise.all([
    deps.services.boundTo(app),
    deps.apps.id(app),
    deps.hosts(app),
    deps.tcpPorts.get(app),
    servingRelease(deps, deployment),
    switched ? undefined : liveRelease(deps, app),
  ]);
  const secrets = secretsOf(services);
  const [changes] = switched
    ? [deployment.envChanges]
    : await Promise.all([
        recordEnvChanges(deps, deployment, appEnv, live),
        deps.deployments.recordSecrets(app, deployment.number, deps.services.sealSecrets(app, secrets)),
      ]);
  const mask = maskValues({ ...appEnv, ...secrets });
  const writer = deps.openLog(deployment, lease.fence, mask);
  return {
    deployment: { ...deployment, envChanges: changes },
    live,
    appId,
    tcpPort,
    appEnv,
    services,
    hosts,
    serving,
    log: new DeployLog((...lines) => writer.write(...lines)),
    flush: () => writer.flush(),
    signal: lease.signal,
    guard: () => lease.assertHeld(),
    assertOwned: () => lease.assertOwned(),
    mask,
    tools: {
      ...tools,
      switchRoute: async (...args) => {
        switched = true; // from here on only a lost lease stops it
        return tools.switchRoute(...args);
      },
    },
  };
}

/** Leaves a deployment to others when that is what its stop means; `undefined`: it has to be ended. */
async function giveUp(
  cause: StopCause,
  run: Run & { flush: () => Promise<void> },
  deps: RunDeps,
  fence: number,
) {
  if (cause.kind === 'lease lost') return 'lost'; // its log and its state are somebody else's by now
  if (cause.kind !== 'shutdown') return undefined;
  await run.log.detail('the worker shuts down; another one takes over');
  await run.flush();
  await deps.deployments.handBack(run.deployment.app, run.deployment.number, fence);
  return 'handed back';
}

function outcomeOfStop(cause: StopCause): DeployOutcome {
  return cause.kind === 'newer push'
    ? { kind: 'superseded', by: cause.by }
    : { kind: 'cancelled', reason: cause.kind === 'cancelled' ? cause.reason : cause.kind };
}

function canBeStopped(cause: StopCause, switched: boolean, cancelOnPush: boolean): boolean {
  if (cause.kind === 'lease lost') return true;
  if (switched) return false;
  return cause.kind !== 'newer push' || cancelOnPush;
}

async function liveRelease(deps: RunDeps, app: AppName): Promise<Release | undefined> {
  const live = (await deps.apps.get(app))?.live;
  return live === undefined ? undefined : deps.releases.get(app, live);
}

async function recordEnvChanges(
  deps: RunDeps,
  { app, number }: Deployment,
  env: Readonly<Record<string, string>>,
  live: Release | undefined,
): Promise<EnvChanges> {
  const before = live ? deps.apps.openEnv(app, await deps.releases.sealedEnv(app, live.number)) : {};
  const changes = envChanges(before, env);
  await deps.deployments.recordEnvChanges(app, number, changes);
  return changes;
}

async function begin(run: Run & { live: Release | undefined }): Promise<DeployOutcome> {
  const { deployment, live, log } = run;
  if (deployment.runs > 1) await log.warning(`a worker was lost; deploy #${deployment.number} starts again`);
  const subject = deployment.subject === '' ? '' : ` "${safeText(deployment.subject, 70)}"`;
  const { rollbackTo } = deployment;
  const back = rollbackTo === undefined ? '' : `back to v${rollbackTo}, `;
  const again = {
    push: '',
    image: '',
    webhook: ', by webhook',
    redeploy: ' again',
    restart: ', restarted',
    start: ', started',
    retry: ', tried again',
    rollback: '',
    restore: ', from a backup',
    crash: `, because v${deployment.crashOf} crashed`,
  };
  await log.heading(
    `Deploy #${deployment.number} of ${deployment.app}: ${back}${showSource(deployment)}${subject}${again[deployment.trigger]}`,
  );
  if (live?.rollbackTo !== undefined && rollbackTo === undefined)
    await log.detail(
      `live now: v${live.number}, which is v${live.rollbackTo} (${showSource(live)}) again since ${live.trigger === 'crash' ? 'the one after it crashed' : `${safeText(live.by, 40)} rolled back`}`,
    );
  if (rollbackTo !== undefined) {
    const changes = deployment.envChanges && showEnvChanges(deployment.envChanges);
    const variables = changes ? `, variables against v${live?.number}: ${safeText(changes, 300)}` : '';
    await log.detail(`with the image of v${rollbackTo}: nothing is built${variables}`);
  }
  await tellOtherSource(run);
  const services = run.services.map(({ name }) => name).join(', ');
  if (services !== '') await log.detail(`with its services: ${services}`);
  const parsed = parseAppSettings(run.appEnv);
  if ('problems' in parsed) {
    return {
      kind: 'failed',
      step: 'checkout',
      reason: parsed.problems[0] ?? '',
      details: parsed.problems.slice(1),
    };
  }
  const settings = withOptions(parsed.settings, deployment.options, deployment.pull !== undefined);
  return deploy({ ...run, settings });
}

/** An app may be an image today and a repository tomorrow, and options that fitted the one need not fit the other. */
async function tellOtherSource({
  deployment,
  live,
  log,
}: Run & { live: Release | undefined }): Promise<void> {
  if (!live || deployment.rollbackTo !== undefined) return;
  if ((live.pull === undefined) === (deployment.pull === undefined)) return;
  await log.detail(
    deployment.pull
      ? `until now the app is built from git (v${live.number}, ${showSource(live)}); a push takes it back there`
      : `until now the app is the image ${showSource(live)} (v${live.number}); from now on it is built from git`,
  );
  const { port, command, healthCheck, endpoint } = deployment.options;
  const inForce = Object.entries({ port, command, 'health check': healthCheck, endpoint })
    .filter(([, value]) => value !== undefined)
    .map(([name]) => name);
  if (inForce.length > 0)
    await log.detail(
      `still in force: its ${inForce.join(', ')} (gantry apps set ${deployment.app} takes back what is no good for it, with "default")`,
    );
}

/** The worker that switched the route died before it could say so: the new release serves, only the ending is missing. */
async function resumeSwitched(run: Run, deps: RunDeps): Promise<DeployOutcome> {
  const route = await deps.routes.get(run.deployment.app);
  const attempt: Attempt = { ...run, settings: settingsOf(run) };
  const isServing = !isTask(attempt);
  if (!route || (isServing && route.live.length === 0))
    throw new Error('the route of the switched release is gone');
  const problem = await confirmSwitch(attempt, route.version, route.live);
  if (problem) return { kind: 'failed', step: 'switch', ...problem };
  await reportDrain(attempt);
  return { kind: 'live' };
}

/** Past its switch a deployment can only become live, whatever breaks then: what serves is not called a failure. */
async function endOfBroken(error: unknown, run: Run, deps: RunDeps): Promise<DeployOutcome | Broken> {
  const { app, number, switched } = run.deployment;
  if (switched || !(await deps.deployments.get(app, number))?.switched) return brokenBy(error);
  return resumeSwitched(run, deps).catch(brokenBy);
}

export function settingsOf(run: Run): AppSettings {
  const parsed = parseAppSettings(run.appEnv);
  if ('problems' in parsed) throw new Error(parsed.problems.join('; '));
  return withOptions(parsed.settings, run.deployment.options, run.deployment.pull !== undefined);
}

async function servingRelease(deps: RunDeps, deployment: Deployment): Promise<number | undefined> {
  const route = await deps.routes.get(deployment.app);
  const [live] = route?.live ?? [];
  if (live?.release !== deployment.number) return live?.release;
  return route?.draining.at(-1)?.release;
}
