import { randomUUID } from 'node:crypto';
import type { DeployTools } from '../deploy/attempt.ts';
import { fetchPublished, newestOnEngine, servicesRun } from '../deploy/restored-release.ts';
import type { AppName, CommitSha } from '../domain/app.ts';
import { isFinal } from '../domain/deployment.ts';
import type { Release } from '../domain/release.ts';
import type { Logger } from '../logger.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { ReleaseStore } from '../store/release-store.ts';
import type { ComeBack, RestoredAppsStore } from '../store/restored-apps-store.ts';
import type { ServiceStore } from '../store/service-store.ts';
import type { DeployQueue } from './deploy-queue.ts';

const lookEveryMs = 1000;
const mostTries = 5;
/** After the first failure; doubled after each further one. */
const pauseMs = 5000;
/** A database may have to be pulled, too. */
const servicesWithinMs = 600_000;

export type RestoredAppsDeps = {
  restored: RestoredAppsStore;
  apps: AppStore;
  deployments: DeploymentStore;
  releases: ReleaseStore;
  services: ServiceStore;
  queue: DeployQueue;
  /** Keeps a commit for a deployment. */
  pin: (app: AppName, number: number, commit: CommitSha) => Promise<void>;
  tools: DeployTools;
  logger: Logger;
};

/**
 * Brings the apps of a restored backup back. Where the image of the live release is here, or can be had from where it was
 * published, what serves is kept as always; else the release is deployed once more with the variables and options it had,
 * so that its commit is built or its digest pulled.
 */
export class RestoredApps {
  readonly #deps: RestoredAppsDeps;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(deps: RestoredAppsDeps) {
    this.#deps = deps;
  }

  /** Resolves when no number will be given that something on the engine has: to be awaited before anything is deployed. */
  async start(): Promise<void> {
    const { restored, deployments, tools, logger } = this.#deps;
    for (const { app } of await restored.list())
      await newestOnEngine(tools, app).then(
        (number) => deployments.skipNumbers(app, number),
        (err: unknown) => logger.warn({ err, app }, 'what is left of the app could not be looked at'),
      );
    this.#go();
  }

  #go(): void {
    this.#running = this.#lookAtAll().then((isDone) => {
      if (!isDone && !this.#stopped) this.#timer = setTimeout(() => this.#go(), lookEveryMs);
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #lookAtAll(): Promise<boolean> {
    const { restored, logger } = this.#deps;
    const all = await restored.list().catch(() => undefined);
    for (const { app, comeBack } of all ?? []) {
      if (this.#stopped) return false;
      try {
        if (await this.#bringBack(app, comeBack)) await restored.remove(app);
      } catch (err) {
        logger.warn({ err, app }, 'the restored app could not be brought back yet; it is tried again');
      }
    }
    return all?.length === 0;
  }

  /** True: there is nothing left to do. */
  async #bringBack(app: AppName, { since, tries, number }: ComeBack): Promise<boolean> {
    const { restored, deployments, services, tools, logger } = this.#deps;
    const release = await this.#wanted(app);
    if (!release) return true;
    const desired = await deployments.desired(app);
    if (desired && !isFinal(desired.state)) return false;
    if ((await tools.engine.inspectImage(release.image)) || (await fetchPublished(tools, release)))
      return true;
    const last = number === undefined ? undefined : await deployments.get(app, number);
    if (last?.state === 'cancelled' || tries >= mostTries) {
      logger.error({ app, tries, reason: last?.reason }, 'the restored app is not brought back any more');
      return true;
    }
    const now = Date.now();
    if (last?.endedAt && now < last.endedAt.getTime() + pauseMs * 2 ** (tries - 1)) return false;
    const isInTime = since === 0 || now - since < servicesWithinMs;
    if (isInTime && !(await servicesRun(tools, await services.boundTo(app)))) {
      if (since === 0) await restored.note(app, { since: now, tries });
      return false;
    }
    const next = await this.#deployAgain(release);
    await restored.note(app, { since, tries: tries + 1, number: next });
    return next === 0;
  }

  /** The release that is to run; nothing for an app that is stopped, goes, or is a task, which would run once more. */
  async #wanted(name: AppName): Promise<Release | undefined> {
    const { apps, releases } = this.#deps;
    const app = await apps.get(name);
    if (app?.live === undefined || app.stopped || app.isDeleted) return undefined;
    const release = await releases.get(name, app.live);
    if (!release || release.options.task) return undefined;
    const env = apps.openEnv(name, await releases.sealedEnv(name, release.number));
    return env.CC_TASK === 'true' ? undefined : release;
  }

  async #deployAgain(release: Release): Promise<number> {
    const { apps, deployments, queue, pin } = this.#deps;
    const { app, commit, pull, subject } = release;
    const { number } = await deployments.request({
      app,
      requestId: randomUUID(),
      trigger: 'restore',
      commit,
      pull,
      subject,
      branch: pull ? '' : ((await apps.get(app))?.branch ?? ''),
      oldSha: commit,
      by: 'gantry restore',
      noCache: false,
      image: undefined,
      asRelease: release.number,
    });
    if (number === 0) return 0;
    if (!pull) await pin(app, number, commit);
    await queue.wake(app);
    return number;
  }
}
