import { type AppName, type CommitSha, parseCommitSha } from '../domain/app.ts';
import type { Deployment } from '../domain/deployment.ts';
import { noCommit } from '../domain/source.ts';
import type { Logger } from '../logger.ts';
import type { RefReport, RefUpdate } from './push.ts';
import type { Repositories } from './repositories.ts';

/** How long git gets to move the branch after its hook answered, before we look. */
const gitMovesWithinMs = 2000;

/**
 * Keeps `main` what it promises to be: the last pushed or fetched commit that went live, and after a rollback the commit that was
 * gone back to. While the push is there git itself moves the branch; when it left, or its server died, this does, and
 * only from where the push saw it.
 */
export class BranchKeeper {
  readonly #repositories: Repositories;
  readonly #logger: Logger;
  readonly #watchers = new Map<string, number>();
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(repositories: Repositories, logger: Logger) {
    this.#repositories = repositories;
    this.#logger = logger;
  }

  /** A push is attached to the deployment until the returned function is called. */
  watch(app: AppName, number: number): () => void {
    const key = `${app}/${number}`;
    this.#watchers.set(key, (this.#watchers.get(key) ?? 0) + 1);
    return () => {
      const left = (this.#watchers.get(key) ?? 1) - 1;
      if (left > 0) this.#watchers.set(key, left);
      else this.#watchers.delete(key);
    };
  }

  /** What git is told about the branch of a deployment that is live. */
  async report(deployment: Deployment, update: RefUpdate): Promise<RefReport> {
    const { app, number, commit, branch } = deployment;
    const ref = `refs/heads/${branch}`;
    const repository = this.#repositories.open(app);
    const now = await repository.readRef(ref);
    const isAlone = (this.#watchers.get(`${app}/${number}`) ?? 0) <= 1;
    if (isAlone && now === parseCommitSha(update.oldSha)) return { ref: update.ref, status: 'ok' };
    if (isAlone && now === undefined && /^0+$/.test(update.oldSha)) return { ref: update.ref, status: 'ok' };
    // The branch moved while this push waited, or two pushes of one commit report at once: git would refuse to move it.
    if (now !== commit) await repository.compareAndSwapRef(ref, commit, now);
    return { ref: update.ref, status: 'shown-as', refName: ref, oldSha: update.oldSha, newSha: commit };
  }

  /** Looks after the branch of a deployment that went live, once no push is there to do it, if it still is live then. */
  settleLater(deployment: Deployment, isLive: () => Promise<boolean>): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (this.#watchers.has(`${deployment.app}/${deployment.number}`)) this.settleLater(deployment, isLive);
      else
        void this.#settleIfLive(deployment, isLive).catch((err: unknown) =>
          this.#logger.warn({ app: deployment.app, err }, 'branch was not moved'),
        );
    }, gitMovesWithinMs);
    this.#timers.add(timer);
  }

  /**
   * What went live without a push takes the branch along, also backwards: the commit that was rolled back can then be
   * pushed again, where git would say "Everything up-to-date", and its correction without force.
   */
  async follow({ app, trigger, branch, commit }: Deployment): Promise<void> {
    if (trigger === 'push' || branch === '' || commit === noCommit || !(await this.#repositories.exists(app)))
      return;
    const repository = this.#repositories.open(app);
    const ref = `refs/heads/${branch}`;
    const now = await repository.readRef(ref);
    if (now === commit || !(await repository.hasWholeHistory(commit))) return;
    if (await repository.compareAndSwapRef(ref, commit, now))
      this.#logger.info({ app, commit, trigger }, 'branch moved to what is live');
  }

  async #settleIfLive(deployment: Deployment, isLive: () => Promise<boolean>): Promise<void> {
    if (await isLive()) await this.#settle(deployment);
  }

  async #settle(deployment: Deployment): Promise<void> {
    const { app, branch, commit, oldSha } = deployment;
    if (branch === '') return;
    const repository = this.#repositories.open(app);
    const ref = `refs/heads/${branch}`;
    const now = await repository.readRef(ref);
    if (now === commit || !(await canMove(now, oldSha, commit, (a, b) => repository.isAncestor(a, b))))
      return;
    // Moving a branch to a commit whose parents were never sent would damage every later clone.
    if (!(await repository.hasWholeHistory(commit))) return;
    if (await repository.compareAndSwapRef(ref, commit, now))
      this.#logger.info({ app, commit }, 'branch moved without its push');
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }
}

async function canMove(
  now: CommitSha | undefined,
  seen: string,
  commit: CommitSha,
  isAncestor: (a: CommitSha, b: CommitSha) => Promise<boolean>,
): Promise<boolean> {
  return now === undefined || now === parseCommitSha(seen) || isAncestor(now, commit);
}
