import { type AppName, parseCommitSha } from '../domain/app.ts';
import type { Deployment } from '../domain/deployment.ts';
import { noCommit } from '../domain/source.ts';
import type { Logger } from '../logger.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { RefReport, RefUpdate } from './push.ts';
import type { Repositories } from './repositories.ts';

type Deps = { repositories: Repositories; apps: AppStore; deployments: DeploymentStore; logger: Logger };

/** How long git gets to move the branch after its hook answered, before we look. */
const gitMovesWithinMs = 2000;

/**
 * Keeps `main` what it promises to be: the last pushed or fetched commit that went live, and after a rollback the commit that was
 * gone back to. While the push is there git itself moves the branch; when it left, or its server died, this does, and so
 * for what went live without a push.
 */
export class BranchKeeper {
  readonly #deps: Deps;
  /** How many pushes are attached to each deployment; 0 for as long as git may still move the branch of the last one. */
  readonly #attached = new Map<string, number>();
  readonly #waiting = new Set<string>();
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** A push is attached to the deployment until the returned function is called. */
  watch(app: AppName, number: number): () => void {
    const key = `${app}/${number}`;
    this.#attached.set(key, (this.#attached.get(key) ?? 0) + 1);
    return () => {
      const left = (this.#attached.get(key) ?? 1) - 1;
      this.#attached.set(key, left);
      if (left === 0) this.#soon(() => this.#attached.get(key) === 0 && this.#attached.delete(key));
    };
  }

  /** What git is told about the branch of a deployment that is live. */
  async report(deployment: Deployment, update: RefUpdate): Promise<RefReport> {
    const { app, number, commit, branch } = deployment;
    const ref = `refs/heads/${branch}`;
    const repository = this.#deps.repositories.open(app);
    const now = await repository.readRef(ref);
    const isAlone = (this.#attached.get(`${app}/${number}`) ?? 0) <= 1;
    if (isAlone && now === parseCommitSha(update.oldSha)) return { ref: update.ref, status: 'ok' };
    if (isAlone && now === undefined && /^0+$/.test(update.oldSha)) return { ref: update.ref, status: 'ok' };
    // The branch moved while this push waited, or two pushes of one commit report at once: git would refuse to move it.
    if (now !== commit) await repository.compareAndSwapRef(ref, commit, now);
    return { ref: update.ref, status: 'shown-as', refName: ref, oldSha: update.oldSha, newSha: commit };
  }

  /**
   * Moves the branch of a deployment to its commit while it is live, also backwards: what was rolled back can then be pushed
   * again, where git would say "Everything up-to-date", and its correction without force. While it is git's turn, later.
   * Fine to repeat, for a branch that somebody moved by hand. A newer deployment that goes live meanwhile moves it after
   * this: who saw the branch before this one was live has not seen that.
   */
  async follow(deployment: Deployment): Promise<void> {
    const { app, trigger, branch, commit } = deployment;
    const { repositories, logger } = this.#deps;
    if (branch === '' || commit === noCommit || !(await repositories.exists(app))) return;
    const repository = repositories.open(app);
    const ref = `refs/heads/${branch}`;
    if ((await repository.isAt(ref, commit)) || !(await this.#isLive(deployment))) return;
    if (trigger === 'push' && this.#isTurnOfGit(deployment)) return this.#followLater(deployment);
    const was = await repository.readRef(ref);
    if (was === commit || !(await this.#isLive(deployment))) return;
    // Moving a branch to a commit whose parents were never sent would damage every later clone.
    if (!(await repository.hasWholeHistory(commit))) return;
    if (await repository.compareAndSwapRef(ref, commit, was))
      logger.info({ app, commit, was, trigger }, 'branch moved to what is live');
  }

  /** Of an app nothing of which is live: a store older than the repository leaves a branch that git would call up-to-date. */
  async withdraw(app: AppName): Promise<void> {
    if (await this.#deps.repositories.exists(app)) await this.#deps.repositories.open(app).removeBranches();
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #isTurnOfGit({ app, number, endedAt }: Deployment): boolean {
    const endedForMs = Date.now() - (endedAt?.getTime() ?? Date.now());
    return this.#attached.has(`${app}/${number}`) || endedForMs < gitMovesWithinMs;
  }

  /** Not only one of its number: a deleted app may have had a namesake. */
  async #isLive({ app, number, createdAt }: Deployment): Promise<boolean> {
    const { apps, deployments } = this.#deps;
    if ((await apps.get(app))?.live !== number) return false;
    return (await deployments.get(app, number))?.createdAt.getTime() === createdAt.getTime();
  }

  #followLater(deployment: Deployment): void {
    const { app, number } = deployment;
    const key = `${app}/${number}`;
    if (this.#waiting.has(key)) return;
    this.#waiting.add(key);
    this.#soon(() => {
      this.#waiting.delete(key);
      this.follow(deployment).catch((err: unknown) =>
        this.#deps.logger.warn({ app, err }, 'branch was not moved'),
      );
    });
  }

  #soon(act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, gitMovesWithinMs);
    this.#timers.add(timer);
  }
}
