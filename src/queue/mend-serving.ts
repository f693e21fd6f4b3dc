import { DeployLog } from '../deploy/deploy-log.ts';
import { type Mended, mendInstances } from '../deploy/mend-instances.ts';
import type { AppName } from '../domain/app.ts';
import { isFinal } from '../domain/deployment.ts';
import { renderLogLine } from '../domain/log-line.ts';
import { maskValues } from '../domain/mask.ts';
import { safeText } from '../domain/safe-text.ts';
import { secretsOf } from '../domain/service-env.ts';
import type { RouteChanges } from '../store/route-changes.ts';
import type { AppLease } from './app-lease.ts';
import { type RunDeps, settingsOf } from './run-deployment.ts';

export type MendDeps = RunDeps & { routeChanges: RouteChanges };

/**
 * Makes what serves an app what its live release says. Needs the app's lease. What waits or is asked for meanwhile comes
 * first: it brings containers of its own. `undefined`: this was not the time for it.
 */
export async function mendServing(
  name: AppName,
  lease: AppLease,
  deps: MendDeps,
): Promise<Mended | undefined> {
  const [app, route, desired] = await Promise.all([
    deps.apps.get(name),
    deps.routes.get(name),
    deps.deployments.desired(name),
  ]);
  if (app?.live === undefined || app.stopped || app.isDeleted || !route || route.paused.length > 0)
    return undefined;
  if (!desired || !isFinal(desired.state)) return undefined;
  const [release, deployment] = await Promise.all([
    deps.releases.get(name, app.live),
    deps.deployments.get(name, app.live),
  ]);
  if (!release || !deployment) return undefined;
  lease.watch(desired.number, ({ kind }) => kind !== 'cancelled');

  const logger = deps.logger.child({ app: name, release: release.number });
  const [sealed, services, appId, hosts, tcpPort] = await Promise.all([
    deps.releases.sealedEnv(name, release.number),
    deps.services.boundTo(name),
    deps.apps.id(name),
    deps.hosts(name),
    deps.tcpPorts.get(name),
  ]);
  const appEnv = deps.apps.openEnv(name, sealed);
  const mask = maskValues({ ...appEnv, ...secretsOf(services) });
  const run = {
    deployment,
    appId,
    tcpPort,
    appEnv,
    services,
    hosts,
    serving: release.number,
    log: new DeployLog(async (...lines) => {
      for (const line of lines) logger.debug(mask(renderLogLine(line)));
    }),
    signal: lease.signal,
    guard: () => lease.assertHeld(),
    assertOwned: () => lease.assertOwned(),
    mask,
    tools: deps.tools(lease),
  };
  const mended = await mendInstances({ ...run, settings: settingsOf(run) }, release.image, route);
  const { started, problem } = mended;
  if (started > 0) logger.warn({ started }, 'instances were missing and are started again');
  if (problem) logger.error({ reason: mask(problem.reason) }, 'an instance is missing and cannot be started');
  lease.assertHeld();
  await deps.routeChanges.setTrouble(
    name,
    lease.fence,
    problem && {
      reason: safeText(mask(problem.reason), 200),
      ...(problem.hints?.[0] && { hint: problem.hints[0] }),
    },
  );
  return mended;
}
