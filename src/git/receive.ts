import { randomUUID } from 'node:crypto';
import { type App, type AppName, type CommitSha, shortSha } from '../domain/app.ts';
import type { RecordAudit } from '../domain/audit.ts';
import { type Deployment, type DeploymentState, isFinal } from '../domain/deployment.ts';
import { type LogLine, renderLogLine } from '../domain/log-line.ts';
import { safeText } from '../domain/safe-text.ts';
import { showSource } from '../domain/source.ts';
import { failpoint } from '../failpoint.ts';
import type { Logger } from '../logger.ts';
import type { DeployQueue } from '../queue/deploy-queue.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { LogReader } from '../store/log-reader.ts';
import type { ReleaseStore } from '../store/release-store.ts';
import type { BranchKeeper } from './branch-keeper.ts';
import { followForPush } from './follow-for-push.ts';
import type { Push, ReceivePush, RefReport, RefUpdate } from './push.ts';
import { type DeployOptions, decidePush, type RefDecision } from './pushed-refs.ts';
import type { Repositories } from './repositories.ts';

export type ReceiveDeps = {
  apps: AppStore;
  releases: ReleaseStore;
  /** Writes a deployment down, also over a short absence of Redis. */
  request: DeploymentStore['request'];
  deployments: DeploymentStore;
  queue: DeployQueue;
  logs: LogReader;
  repositories: Repositories;
  branches: BranchKeeper;
  recordAudit: RecordAudit;
  logger: Logger;
};

type Say = (line: LogLine) => Promise<void>;

/** What a push becomes: a deployment that is followed to its end, or a refusal with a reason. */
export function receivePushes(deps: ReceiveDeps): ReceivePush {
  return async (push, print, signal) => {
    const say: Say = (line) => print(renderLogLine(line));
    const known = await deps.apps.get(push.app);
    const app = known ?? {
      name: push.app,
      branch: '',
      live: undefined,
      stopped: undefined,
      trouble: undefined,
      isDeleted: false,
      createdAt: new Date(),
    };
    const live = app.live === undefined ? undefined : await deps.releases.get(app.name, app.live);
    // An image is live: what can be deployed again is the commit that was live before it.
    const liveCommit = live?.pull ? await branchHead(deps, app) : live?.commit;
    const decision = decidePush(push.updates, push.options, { branch: app.branch, liveCommit });
    // A push that is refused leaves no app behind.
    if (!known && decision.refs.some((ref) => ref.kind !== 'refuse')) {
      await deps.apps.create(push.app);
      await audit(deps, push, 'create app', '');
    }

    const reports: RefReport[] = [];
    for (const [index, ref] of decision.refs.entries()) {
      const update = push.updates[index];
      if (update)
        reports.push(
          await carryOut(deps, { app, push, update, options: decision.options, say, signal }, ref),
        );
    }
    return reports;
  };
}

async function branchHead({ repositories }: ReceiveDeps, app: App): Promise<CommitSha | undefined> {
  if (app.branch === '' || !(await repositories.exists(app.name))) return undefined;
  return repositories.open(app.name).readRef(`refs/heads/${app.branch}`);
}

type PushedRef = {
  app: App;
  push: Push;
  update: RefUpdate;
  options: DeployOptions;
  say: Say;
  signal: AbortSignal;
};

async function carryOut(deps: ReceiveDeps, pushed: PushedRef, decision: RefDecision): Promise<RefReport> {
  switch (decision.kind) {
    case 'store':
      await audit(deps, pushed.push, 'push', decision.ref);
      return { ref: decision.ref, status: 'ok' };
    case 'refuse':
      await audit(deps, pushed.push, 'push', pushed.update.ref, decision.reason);
      for (const line of decision.lines) await pushed.say(line);
      return { ref: decision.ref, status: 'refused', reason: decision.reason };
    case 'deploy':
    case 'redeploy':
      return deployRef(deps, pushed, decision);
  }
}

async function deployRef(
  deps: ReceiveDeps,
  { app, push, update, options, say, signal }: PushedRef,
  decision: Extract<RefDecision, { kind: 'deploy' | 'redeploy' }>,
): Promise<RefReport> {
  const { ref, branch, sha, kind } = decision;
  const repository = deps.repositories.open(app.name);
  const info = await repository.commitInfo(sha);
  if (!info) return { ref, status: 'refused', reason: 'not a commit' };
  const { sha: commit, subject } = info;

  await failpoint('before request');
  const { number, attached } = await deps.request({
    app: app.name,
    requestId: randomUUID(),
    trigger: kind === 'deploy' ? 'push' : 'redeploy',
    commit,
    pull: undefined,
    subject,
    branch,
    oldSha: update.oldSha,
    by: push.account.name,
    noCache: options.noCache,
    image: undefined,
  });
  await failpoint('after request');
  await failpoint('before wake');
  await Promise.all([
    audit(deps, push, 'push', `${branch} ${shortSha(commit)} -> ${number}`),
    // One that is lost is made up for: workers look for what waits.
    deps.queue.wake(app.name).catch(() => {}),
  ]);
  await failpoint('after wake');
  // The worker is on its way; nothing is collected before the pin is there, because nothing but us collects.
  const noted = [
    repository.pin(String(number), commit),
    ...(app.branch === '' ? [repository.setDefaultBranch(branch)] : []),
  ];
  // It is accepted, and on a full disk the worker has more to say.
  await Promise.all(noted).catch((err: unknown) =>
    deps.logger.warn({ app: app.name, deployment: number, err }, 'the commit could not be marked as in use'),
  );
  await letGoIfOver(deps, app.name, number);
  await tellMissed(deps, app, number, say);
  if (attached)
    await say({
      kind: 'detail',
      text: `${shortSha(commit)} is being deployed as #${number}; this is its log from the start`,
    });

  if (options.detach) {
    await say({ kind: 'heading', text: `Deploy #${number} of ${app.name} is queued` });
    await say({ kind: 'hint', text: `follow it: gantry logs --app ${app.name} --deploy ${number}` });
    return detached(ref, `refs/heads/${branch}`, update, commit);
  }

  const unwatch = deps.branches.watch(app.name, number);
  try {
    const end = await followForPush(deps, app.name, number, say, signal);
    const deployment = await deps.deployments.get(app.name, number);
    if (!deployment) throw new Error(`deployment ${number} of ${app.name} vanished`);
    if (end === 'superseded') await tellSuperseded(deps, deployment, say);
    await failpoint('before report');
    const report = await verdict(deps, decision, deployment, end, update);
    await failpoint('after report');
    if (push.isWatched()) await deps.deployments.markReported(app.name, number);
    return report;
  } finally {
    unwatch();
  }
}

/** What ended meanwhile was put away before the commit was pinned. */
async function letGoIfOver(
  { deployments, repositories }: ReceiveDeps,
  app: AppName,
  number: number,
): Promise<void> {
  const deployment = await deployments.get(app, number);
  if (deployment && isFinal(deployment.state)) await repositories.open(app).unpin(String(number));
}

async function audit(
  { recordAudit }: ReceiveDeps,
  { app, account, address }: Push,
  action: string,
  what: string,
  result = 'ok',
): Promise<void> {
  const { name: by, tokenId } = account;
  await recordAudit({ by, tokenId, address, app, action, what: safeText(what), result: safeText(result) });
}

async function verdict(
  deps: ReceiveDeps,
  { kind, ref, branch }: Extract<RefDecision, { kind: 'deploy' | 'redeploy' }>,
  deployment: Deployment,
  end: DeploymentState,
  update: RefUpdate,
): Promise<RefReport> {
  if (end !== 'live') {
    const reason = deployment.reason ?? end;
    return { ref, status: 'refused', reason: safeText(`deploy #${deployment.number} ${reason}`, 200) };
  }
  if (kind === 'deploy') return deps.branches.report(deployment, update);
  return {
    ref,
    status: 'shown-as',
    refName: `refs/heads/${branch}`,
    oldSha: deployment.commit,
    newSha: deployment.commit,
  };
}

/**
 * Nothing is live yet, so the branch stays where it is; git is told of no move. A branch that does not exist yet cannot
 * be shown as unmoved: then git believes in the new one until it asks again.
 */
function detached(ref: string, refName: string, update: RefUpdate, commit: string): RefReport {
  const isNew = /^0+$/.test(update.oldSha);
  return { ref, status: 'shown-as', refName, oldSha: update.oldSha, newSha: isNew ? commit : update.oldSha };
}

/** How earlier deployments ended whose pushers were not there any more. */
async function tellMissed(deps: ReceiveDeps, app: App, current: number, say: Say): Promise<void> {
  const earlier = (await deps.deployments.list(app.name, 6)).filter(
    (deployment) => deployment.number < current,
  );
  for (const deployment of earlier.reverse()) {
    if (deployment.reported || !isFinal(deployment.state)) continue;
    const what = deployment.rollbackTo === undefined ? '' : `, back to v${deployment.rollbackTo}`;
    const how =
      deployment.crash?.reason ??
      (deployment.state === 'live' ? 'went live' : (deployment.reason ?? deployment.state));
    await say({
      kind: 'detail',
      text: `while you were away: deploy #${deployment.number} (${showSource(deployment)}${what}) ${safeText(how, 150)}`,
    });
    await deps.deployments.markReported(app.name, deployment.number);
  }
}

async function tellSuperseded(deps: ReceiveDeps, deployment: Deployment, say: Say): Promise<void> {
  if (deployment.supersededBy === undefined) return;
  const newer = await deps.deployments.get(deployment.app, deployment.supersededBy);
  if (!newer) return;
  if (newer.rollbackTo !== undefined) {
    const by = safeText(newer.by, 40);
    await say({
      kind: 'hint',
      text: `#${newer.number} is a rollback to v${newer.rollbackTo} by ${by}: push again once that is not wanted any more`,
    });
    return;
  }
  if (newer.pull) {
    await say({
      kind: 'hint',
      text: `#${newer.number} is the image ${showSource(newer)}: push again once that is not wanted any more`,
    });
    return;
  }
  const contains = await deps.repositories.open(deployment.app).isAncestor(deployment.commit, newer.commit);
  await say({
    kind: 'hint',
    text: contains
      ? `nothing to do: #${newer.number} (${shortSha(newer.commit)}) contains your commit`
      : `#${newer.number} (${shortSha(newer.commit)}) does not contain your commit: pull, merge and push again`,
  });
}
