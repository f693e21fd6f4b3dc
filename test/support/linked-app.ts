import { page } from './dockerfiles.ts';
import type { Forge } from './forge.ts';
import { temporaryRepository } from './git.ts';
import { type Rig, until } from './rig.ts';

export type ShownDeployment = { number: number; state: string; trigger: string; commit: string; by: string };

/** An app linked to a repository of its own on the forge, and somebody who pushes there. */
export async function linkedApp(
  rig: Rig,
  forge: Forge,
  app: string,
  provider: string,
  options: readonly string[] = [],
  token?: string,
) {
  const { path, commit } = await forge.add(`ana/${app}.git`, { Dockerfile: page(), version: 'one' });
  const url = `${forge.url}/ana/${app}.git`;
  const link = ['webhooks', 'link', app, '--provider', provider, '--repo', url, ...options, '--json'];
  const made = await rig.gantryWith(token, ...link);
  if (made.code !== 0) throw new Error(made.stderr);
  const { secret } = JSON.parse(made.stdout) as { secret: string };
  const work = await temporaryRepository();
  await work.git('fetch', '--quiet', path, 'main');
  await work.git('reset', '--quiet', '--hard', 'FETCH_HEAD');
  const deployments = async (): Promise<ShownDeployment[]> => {
    const { body } = await rig.api('GET', `/apps/${app}/deployments`);
    return (JSON.parse(body) as { deployments: ShownDeployment[] }).deployments;
  };
  return {
    first: commit,
    secret,
    url,
    path,
    work,
    deployments,
    /** With `tell`, a delivery says so as well. Returns the commit. */
    push: async (files: Record<string, string>, message: string, tell = false): Promise<string> => {
      const before = (await work.git('rev-parse', 'HEAD')).stdout.trim();
      await work.commit(files, message);
      const pushed = await work.git('push', '--quiet', '--force', path, 'HEAD:main');
      if (pushed.code !== 0) throw new Error(pushed.stderr);
      const after = (await work.git('rev-parse', 'HEAD')).stdout.trim();
      if (tell) await tellOf(rig, app, secret, before, after);
      return after;
    },
    tell: (after: string, before = '0'.repeat(40)) => tellOf(rig, app, secret, before, after),
    ended: (number: number, state: string) =>
      until(`#${number} of ${app} is ${state}`, async () =>
        (await deployments()).some((one) => one.number === number && one.state === state),
      ),
  };
}

/** As GitLab proves itself with its old token, and everybody may who is generic. */
async function tellOf(rig: Rig, app: string, secret: string, before: string, after: string): Promise<void> {
  const { body } = await rig.api('GET', `/apps/${app}/webhook`);
  const { path, provider } = JSON.parse(body) as { path: string; provider: string };
  const { sign } = await import('@octokit/webhooks-methods');
  const head = { id: after, message: '' };
  const { repository } = JSON.parse(body) as { repository: string };
  const payload = JSON.stringify({
    ref: 'refs/heads/main',
    before,
    after,
    commits: [],
    head_commit: head,
    repository: { clone_url: repository },
    project: { git_http_url: repository },
  });
  const hex = (await sign(secret, payload)).slice('sha256='.length);
  const headers: Record<string, Record<string, string>> = {
    github: { 'x-github-event': 'push', 'x-hub-signature-256': `sha256=${hex}` },
    gitea: { 'x-gitea-event': 'push', 'x-gitea-signature': hex },
    gitlab: { 'x-gitlab-event': 'Push Hook', 'x-gitlab-token': secret },
  };
  const answer = await fetch(`http://127.0.0.1:${rig.port}${path}`, {
    method: 'POST',
    body: payload,
    headers: { 'content-type': 'application/json', ...headers[provider] },
  });
  if (answer.status >= 300) throw new Error(`${answer.status}: ${await answer.text()}`);
}
