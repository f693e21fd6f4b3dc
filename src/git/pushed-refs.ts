import { type CommitSha, parseCommitSha, shortSha } from '../domain/app.ts';
import type { LogLine } from '../domain/log-line.ts';
import { safeText } from '../domain/safe-text.ts';
import type { RefUpdate } from './push.ts';

/** What an app looks like to a push. `branch` is empty until the first one. */
export type PushedApp = { branch: string; liveCommit?: CommitSha | undefined };

export type DeployOptions = { detach: boolean; noCache: boolean };

export type RefDecision =
  /** The one branch of the app. On a first push this is what makes it the app's branch. */
  | { kind: 'deploy'; ref: string; branch: string; sha: CommitSha }
  /** The branch that never comes into existence: the live commit is deployed once more. */
  | { kind: 'redeploy'; ref: string; branch: string; sha: CommitSha }
  /** git keeps it and nothing else happens. */
  | { kind: 'store'; ref: string }
  /** `reason` is for git's status line, `lines` for above it. */
  | { kind: 'refuse'; ref: string; reason: string; lines: LogLine[] };

export type PushDecision = { options: DeployOptions; refs: RefDecision[] };

const knownOptions = ['detach', 'no-cache'];
const redeployRef = 'refs/heads/redeploy';

/** Which ref of a push deploys, which are stored and which are refused and why: one decision per update, in order. */
export function decidePush(
  updates: readonly RefUpdate[],
  options: readonly string[],
  app: PushedApp,
): PushDecision {
  const unknown = options.find((option) => !knownOptions.includes(option));
  const refs = unknown === undefined ? decideRefs(updates, app) : refuseOption(updates, unknown);
  return { options: { detach: options.includes('detach'), noCache: options.includes('no-cache') }, refs };
}

function refuseOption(updates: readonly RefUpdate[], option: string): RefDecision[] {
  const lines = complaint(
    `unknown push option "${safeText(option)}"; known are ${knownOptions.join(' and ')}`,
    'git push -o no-cache clever main',
  );
  // Said once is enough, however many refs there are.
  return updates.map(({ ref }, index) => refuse(ref, 'unknown push option', index === 0 ? lines : []));
}

function decideRefs(updates: readonly RefUpdate[], app: PushedApp): RefDecision[] {
  const branch = app.branch === '' ? firstBranch(updates) : app.branch;
  const isDeploying = updates.some((update) => update.ref === `refs/heads/${branch}` && !isDeletion(update));
  return updates.map((update) => {
    if (update.ref.startsWith('refs/tags/')) return { kind: 'store', ref: update.ref };
    if (!update.ref.startsWith('refs/heads/')) return refuseNamespace(update.ref);
    if (isDeletion(update)) return refuseDeletion(update.ref);
    if (branch !== undefined && update.ref === `refs/heads/${branch}`) return deploy(update, branch);
    if (update.ref === redeployRef) return redeploy(update, branch, app.liveCommit, isDeploying);
    return branch === undefined ? refuseName(update.ref) : refuseBranch(update.ref, branch);
  });
}

/** The branch that a first push settles for. */
function firstBranch(updates: readonly RefUpdate[]): string | undefined {
  const branches = updates
    .filter(
      (update) => update.ref.startsWith('refs/heads/') && update.ref !== redeployRef && !isDeletion(update),
    )
    .map((update) => branchOf(update.ref))
    .filter(canBeTyped);
  return ['main', 'master'].find((usual) => branches.includes(usual)) ?? branches[0];
}

/** git allows branches called `--force` or `HEAD`; as the name everybody must type from now on they are traps. */
function canBeTyped(branch: string): boolean {
  return !/^-|^HEAD$|^refs\//.test(branch) && safeText(branch) === branch;
}

function deploy(update: RefUpdate, branch: string): RefDecision {
  const sha = parseCommitSha(update.newSha);
  return sha ? { kind: 'deploy', ref: update.ref, branch, sha } : refuseObject(update.ref);
}

function redeploy(
  update: RefUpdate,
  branch: string | undefined,
  liveCommit: CommitSha | undefined,
  isDeploying: boolean,
): RefDecision {
  const target = branch ?? 'main';
  if (isDeploying) {
    return refuse(
      update.ref,
      'one deployment per push',
      complaint(`"${safeText(target)}" is deployed by this push`),
    );
  }
  if (branch === undefined || liveCommit === undefined) {
    const lines = complaint(
      'nothing is live yet that could be deployed again',
      `git push clever ${safeText(target)}`,
    );
    return refuse(update.ref, 'nothing is live yet', lines);
  }
  if (update.newSha !== liveCommit) {
    const lines = complaint(
      `"redeploy" is for the live commit ${shortSha(liveCommit)}; you pushed ${shortSha(update.newSha)}`,
      `git push clever ${safeText(branch)} deploys new commits`,
    );
    return refuse(update.ref, 'not the live commit', lines);
  }
  return { kind: 'redeploy', ref: update.ref, branch, sha: liveCommit };
}

function refuseBranch(ref: string, branch: string): RefDecision {
  const pushed = safeText(branchOf(ref));
  const lines = complaint(
    `only "${safeText(branch)}" deploys; you pushed "${pushed}"`,
    `git push clever ${canBeTyped(branchOf(ref)) ? pushed : 'HEAD'}:${safeText(branch)}`,
  );
  return refuse(ref, 'not the deploy branch', lines);
}

function refuseName(ref: string): RefDecision {
  const lines = complaint(
    `"${safeText(branchOf(ref))}" cannot be the branch that deploys`,
    'git push clever HEAD:main',
  );
  return refuse(ref, 'not a usable branch name', lines);
}

function refuseDeletion(ref: string): RefDecision {
  const lines = complaint(
    `"${safeText(branchOf(ref))}" cannot be deleted by a push`,
    'deleting the app removes its repository, too',
  );
  return refuse(ref, 'branches cannot be deleted', lines);
}

function refuseNamespace(ref: string): RefDecision {
  const lines = complaint(`"${safeText(ref)}" is neither a branch nor a tag`, 'git push clever main');
  return refuse(ref, 'neither a branch nor a tag', lines);
}

function refuseObject(ref: string): RefDecision {
  return refuse(ref, 'not a commit', complaint(`what you pushed to "${safeText(ref)}" is not a commit`));
}

function refuse(ref: string, reason: string, lines: LogLine[]): RefDecision {
  return { kind: 'refuse', ref, reason, lines };
}

function complaint(error: string, hint?: string): LogLine[] {
  const lines: LogLine[] = [{ kind: 'error', text: error }];
  return hint === undefined ? lines : [...lines, { kind: 'hint', text: hint }];
}

function isDeletion(update: RefUpdate): boolean {
  return /^0+$/.test(update.newSha);
}

function branchOf(ref: string): string {
  return ref.replace(/^refs\/heads\//, '');
}
