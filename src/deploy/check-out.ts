import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseCommitSha, shortSha } from '../domain/app.ts';
import type { Problem } from '../domain/deployment.ts';
import { safeText } from '../domain/safe-text.ts';
import type { Attempt } from './attempt.ts';
import { findAppFolder } from './find-app-folder.ts';

/** A folder with the files of a commit. It goes when the deployment ends, however it ends. */
export type Checkout = {
  dir: string;
  /** Where the app is in it: the same, or the folder that APP_FOLDER names. */
  appDir: string;
  [Symbol.asyncDispose]: () => Promise<void>;
};

/** Writes the commit's files into a folder that no other deployment has seen. */
export async function checkOut(attempt: Attempt): Promise<{ checkout: Checkout } | { problem: Problem }> {
  const { deployment, tools, log, signal } = attempt;
  const repository = tools.repository(deployment.app);

  // The fence is in the name: a worker that lost its lease may still be writing into its own folder.
  const parent = join(tools.workDir, deployment.app);
  const dir = join(parent, `${deployment.number}-${tools.fence}`);
  await mkdir(parent, { recursive: true, mode: 0o700 });
  await rm(dir, { recursive: true, force: true });
  attempt.guard();
  const [moved] = await Promise.all([
    branchMoved(attempt),
    repository.checkout(deployment.commit, dir, signal),
  ]);
  const checkout: Checkout = {
    dir,
    appDir: dir,
    // What cannot be removed now is swept later; it is no reason for a deployment to fail.
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }).catch(() => {}),
  };

  // Asking git costs a process each; most repositories have neither.
  const problem =
    moved ?? (existsSync(join(dir, '.gitmodules')) ? await putSubmodules(attempt, dir) : undefined);
  const folder = problem ? { problem } : await findAppFolder(dir, attempt.settings.appFolder);
  if ('problem' in folder) {
    await checkout[Symbol.asyncDispose]();
    return folder;
  }
  const pointers = existsSync(join(dir, '.gitattributes'))
    ? await repository.lfsPointers(deployment.commit)
    : [];
  if (pointers.length > 0) {
    await log.warning(`Git LFS is not supported; these files are only pointers: ${listed(pointers)}`);
  }
  return { checkout: { ...checkout, appDir: folder.dir } };
}

async function putSubmodules(attempt: Attempt, dir: string): Promise<Problem | undefined> {
  const { deployment, settings, tools, log, signal } = attempt;
  const { areFetched, sshKey } = settings.submodules;
  if (!areFetched) {
    const paths = await tools.repository(deployment.app).submodulePaths(deployment.commit);
    if (paths.length > 0)
      await log.warning(
        `submodules are not fetched (CC_DISABLE_GIT_SUBMODULES); these folders are empty: ${listed(paths)}`,
      );
    return undefined;
  }
  const problem = await tools.fetchSubmodules({
    app: deployment.app,
    commit: deployment.commit,
    checkout: dir,
    scratch: `${dir}.submodules`,
    sshKey,
    report: (path, url, commit) =>
      log.detail(`submodule ${safeText(path, 100)}: ${safeText(url, 150)} at ${shortSha(commit)}`),
    signal,
  });
  if (!problem) return undefined;
  const { path, url, reason, hint } = problem;
  return {
    reason: `the submodule ${safeText(path, 100)} cannot be fetched: ${safeText(reason, 200)}`,
    details: url === '' ? [] : [safeText(url, 200)],
    hints: [...(hint === undefined ? [] : [hint]), 'CC_DISABLE_GIT_SUBMODULES=true leaves submodules out'],
  };
}

/**
 * A push that waited behind another was made against an older branch. When the branch has moved to a commit that this
 * one does not contain, deploying it would silently undo that one.
 */
async function branchMoved(attempt: Attempt): Promise<Problem | undefined> {
  const { deployment, tools } = attempt;
  if (deployment.trigger !== 'push') return undefined;
  const repository = tools.repository(deployment.app);
  const ref = `refs/heads/${deployment.branch}`;
  const then = parseCommitSha(deployment.oldSha);
  // Asking git costs a process, and this is how it nearly always is.
  if (then && (await repository.isAt(ref, then))) return undefined;
  const now = await repository.readRef(ref);
  if (now === undefined || now === then || now === deployment.commit) return undefined;
  if (await repository.isAncestor(now, deployment.commit)) return undefined;
  return {
    reason: `${safeText(deployment.branch, 100)} moved to ${shortSha(now)} while this push waited`,
    hints: [`git pull, then push again: your commit does not contain ${shortSha(now)}`],
  };
}

function listed(paths: readonly string[]): string {
  const shown = paths.slice(0, 5).map((path) => safeText(path, 100));
  return paths.length > shown.length
    ? `${shown.join(', ')} and ${paths.length - shown.length} more`
    : shown.join(', ');
}
