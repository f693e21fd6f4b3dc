import type { DeployTools } from '../deploy/attempt.ts';
import { explainExit } from '../deploy/explain-unhealthy.ts';
import type { AppName } from '../domain/app.ts';
import { longestMonitorMs, parseAppSettings } from '../domain/app-settings.ts';
import type { ContainerState } from '../domain/container.ts';
import { type Deployment, isFinal } from '../domain/deployment.ts';
import { regainedRights } from '../domain/go-back.ts';
import type { Release } from '../domain/release.ts';
import { safeText } from '../domain/safe-text.ts';
import type { Logger } from '../logger.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { ReleaseStore } from '../store/release-store.ts';
import type { StoredRoute } from '../store/route-store.ts';

export type CrashWatchOptions = {
  engine: DeployTools['engine'];
  apps: AppStore;
  deployments: DeploymentStore;
  releases: ReleaseStore;
  monitorMs: number;
  /** Hides the values of the variables of a release. */
  maskOf: (app: AppName, release: number) => Promise<(text: string) => string>;
  logger: Logger;
};

/** How a container ended, as the engine told it. */
export type Death = { exitCode: number | undefined; at: number };

/** `asked`: a deployment puts the release before back. */
type Verdict = 'fine' | 'look again soon' | 'asked';

const lastLinesKept = 20;

/**
 * Watches over releases that went live a moment ago. One whose container ends by itself in that time is replaced by the
 * release that was live before it, as a rollback does it; what an app answers says nothing, since it may lack something that
 * the release before lacks as well.
 */
export class CrashWatch {
  readonly #options: CrashWatchOptions;
  /** Until when the live release of each app is watched, by the clock. */
  readonly #watched = new Map<AppName, { release: number; liveSince: number; until: number }>();

  constructor(options: CrashWatchOptions) {
    this.#options = options;
  }

  async look(route: StoredRoute, deaths: ReadonlyMap<string, Death>): Promise<Verdict> {
    const { app, live } = route;
    const release = live[0]?.release ?? route.missing?.release;
    if (release === undefined) return 'fine';
    const watched = await this.#watch(app, release);
    if (Date.now() > watched.until) return 'fine';
    for (const { container } of live) {
      const state = await this.#options.engine.inspect(container);
      const death = deaths.get(container);
      if (!state || !hasCrashed(state, death)) continue;
      const deployment = await this.#options.deployments.get(app, release);
      if (!deployment || deployment.crash) break;
      if (!isFinal(deployment.state)) return 'look again soon';
      return this.#putBack(deployment, state, death, watched.liveSince);
    }
    return 'fine';
  }

  forgetAllBut(apps: ReadonlySet<AppName>): void {
    for (const app of this.#watched.keys()) if (!apps.has(app)) this.#watched.delete(app);
  }

  async #watch(app: AppName, number: number) {
    const known = this.#watched.get(app);
    if (known?.release === number) return known;
    const { apps, releases, monitorMs } = this.#options;
    const release = await releases.get(app, number);
    const liveSince = release?.createdAt.getTime() ?? 0;
    let until = liveSince + longestMonitorMs;
    if (Date.now() <= until) {
      const settings = parseAppSettings(apps.openEnv(app, await releases.sealedEnv(app, number)));
      const own = 'settings' in settings ? settings.settings.monitorMs : undefined;
      until = liveSince + (own ?? monitorMs);
    }
    const watched = { release: number, liveSince, until };
    this.#watched.set(app, watched);
    return watched;
  }

  async #putBack(
    crashed: Deployment,
    state: ContainerState,
    death: Death | undefined,
    liveSince: number,
  ): Promise<Verdict> {
    const { engine, apps, deployments, maskOf, logger } = this.#options;
    const { app, number } = crashed;
    const mask = await maskOf(app, number);
    const lines = await engine.lastOutput(state.id, lastLinesKept).catch(() => []);
    const afterMs = Math.max(0, (death?.at ?? Date.now()) - liveSince);
    const crash = {
      of: number,
      reason: `crashed ${Math.round(afterMs / 1000)}s after it went live: ${safeText(mask(howItEnded(state, death)), 150)}`,
      lastLines: lines.map((line) => safeText(mask(line), 500)),
    };
    const before = await this.#before(crashed);
    if ('missing' in before) {
      logger.warn({ app, release: number, reason: before.missing }, 'a release crashed and stays');
      await deployments.noteCrash(app, crash, before.missing);
      return 'fine';
    }
    const { release } = before;
    const { number: made } = await deployments.request({
      app,
      requestId: `crash-${await apps.id(app)}-${number}`,
      trigger: 'crash',
      commit: release.commit,
      pull: release.pull,
      subject: release.subject,
      branch: release.pull ? '' : ((await apps.get(app))?.branch ?? ''),
      oldSha: crashed.commit,
      by: 'gantry',
      noCache: false,
      image: release.image,
      rollbackTo: release.number,
      crash,
    });
    if (made === 0) return 'look again soon';
    logger.warn({ app, release: number, reason: crash.reason, deployment: made }, 'a release crashed');
    return 'asked';
  }

  /** The release to put back, or why there is none. */
  async #before({ app, number, trigger }: Deployment): Promise<{ release: Release } | { missing: string }> {
    const { engine, apps, deployments, releases } = this.#options;
    if (trigger === 'crash') return { missing: 'it had itself been put back, so it stays' };
    const before = await deployments.liveBefore(app, number);
    const release = before === undefined ? undefined : await releases.get(app, before);
    if (!release) return { missing: 'no release was live before it, so it stays' };
    const name = `v${release.number}`;
    if (release.options.task) return { missing: `${name} was a task, so it stays` };
    if (!release.isKept || !(await engine.inspectImage(release.image)))
      return { missing: `the image of ${name} is gone, so it stays` };
    const regained = regainedRights(release.options, await apps.options(app));
    if (regained.length > 0)
      return { missing: `${name} had ${regained.join(' and ')}, which was taken from the app, so it stays` };
    return { release };
  }
}

/**
 * By itself, that is: the engine counts only those that it starts again because of its policy. One that ended with the
 * engine, before that was told to keep it, has no death that anybody was told of.
 */
function hasCrashed(
  { restartCount, isRestarting, running, isKept }: ContainerState,
  death: Death | undefined,
): boolean {
  return restartCount > 0 || isRestarting || (!running && !isKept && death !== undefined);
}

export function howItEnded(state: ContainerState, death: Death | undefined): string {
  const exitCode = death?.exitCode ?? state.exitCode;
  if (exitCode === undefined && !state.outOfMemory) return 'it ended by itself';
  return explainExit({ ...state, ...(exitCode !== undefined && { exitCode }) }, state.memoryBytes ?? 0)
    .reason;
}
