import type { AppName, CommitSha } from '../domain/app.ts';
import type { DeployQueue } from '../queue/deploy-queue.ts';
import type { DeploymentRequest, DeploymentStore } from '../store/deployment-store.ts';
import { branchTip, fetchUpstream, type UpstreamPlace } from './fetch-upstream.ts';
import type { Repositories } from './repositories.ts';

type Deps = {
  deployments: DeploymentStore;
  queue: DeployQueue;
  repositories: Repositories;
  /** The ssh servers an app's commits came from, one file per app. */
  knownHostsFile: (app: AppName) => string;
  place: Omit<UpstreamPlace, 'knownHostsFile'>;
};

/** What deployments of commits need that were not pushed here: they are fetched from where somebody else pushed them. */
export function deployFetched({ deployments, queue, repositories, knownHostsFile, place }: Deps) {
  return {
    fetch: async (app: AppName, url: string, sshKey: string | undefined, commit: CommitSha) =>
      fetchUpstream(await repositories.create(app), url, sshKey, commit, {
        ...place,
        knownHostsFile: knownHostsFile(app),
      }),
    tipOf: (app: AppName, url: string, sshKey: string | undefined, branch: string) =>
      branchTip(url, sshKey, branch, { ...place, knownHostsFile: knownHostsFile(app) }),
    messageOf: (app: AppName, commit: CommitSha) => repositories.open(app).message(commit),
    deploy: async (request: DeploymentRequest) => {
      const { app, commit, branch } = request;
      const repository = repositories.open(app);
      const info = await repository.commitInfo(commit);
      const made = await deployments.request({ ...request, subject: info?.subject ?? request.subject });
      await repository.pin(String(made.number), commit);
      await queue.wake(app);
      if (request.oldSha.startsWith('0'.repeat(40))) await repository.setDefaultBranch(branch);
      return made;
    },
    branchHead: (app: AppName, branch: string) => repositories.open(app).readRef(`refs/heads/${branch}`),
    isAncestor: (app: AppName, ancestor: CommitSha, descendant: CommitSha) =>
      repositories.open(app).isAncestor(ancestor, descendant),
  };
}
