import { createHash } from 'node:crypto';
import { parseCommitSha } from '../domain/app.ts';
import type { DeploymentState } from '../domain/deployment.ts';
import type { EventPayload } from '../domain/outgoing-webhook.ts';
import { parseRemoteUrl } from '../domain/remote-url.ts';
import { safeText } from '../domain/safe-text.ts';
import type { SentRequest } from './send-request.ts';

type Words = Record<DeploymentState, string>;

/** What each forge calls the state of a deployment. */
const githubWords: Words = {
  queued: 'pending',
  running: 'pending',
  live: 'success',
  failed: 'failure',
  cancelled: 'error',
  superseded: 'error',
};
const gitlabWords: Words = {
  queued: 'pending',
  running: 'running',
  live: 'success',
  failed: 'failed',
  cancelled: 'canceled',
  superseded: 'canceled',
};
const bitbucketWords: Words = {
  queued: 'INPROGRESS',
  running: 'INPROGRESS',
  live: 'SUCCESSFUL',
  failed: 'FAILED',
  cancelled: 'STOPPED',
  superseded: 'STOPPED',
};
/** Its own server has no fourth word. */
const bitbucketServerWords: Words = { ...bitbucketWords, cancelled: 'FAILED', superseded: 'FAILED' };

/** The shortest limit, GitHub's; Bitbucket's for a key. */
const longestDescription = 140;
const longestKey = 40;

/** The request that tells a forge how the deployment of a commit stands, by the forge's own API. */
export function statusRequest(
  provider: string,
  repository: string,
  token: string,
  payload: EventPayload,
): SentRequest | { problem: string } {
  const { app, commit, url } = payload.data;
  // What a release that crashed was is live; its commit has failed.
  const state = payload.type === 'release.crashed' ? 'failed' : payload.data.state;
  const place = placeOf(repository);
  if (!place) return { problem: 'the URL of the repository has no owner and name' };
  if (state === null || !parseCommitSha(commit ?? '')) return { problem: 'it is about no commit' };
  const { host, origin, path } = place;
  const context = `gantry/${app}`;
  const description = descriptionOf(payload);
  const post = (to: string, headers: Record<string, string>, body: object): SentRequest => ({
    url: to,
    headers: { accept: 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  switch (provider) {
    case 'github': {
      const api = host === 'github.com' ? 'https://api.github.com' : `${origin}/api/v3`;
      return post(
        `${api}/repos/${lastTwo(path)}/statuses/${commit}`,
        {
          accept: 'application/vnd.github+json',
          authorization: `Bearer ${token}`,
          'x-github-api-version': '2022-11-28',
        },
        { state: githubWords[state], target_url: url, description, context },
      );
    }
    case 'gitlab':
      return post(
        `${origin}/api/v4/projects/${encodeURIComponent(path.join('/'))}/statuses/${commit}`,
        { 'private-token': token },
        {
          state: gitlabWords[state],
          name: context,
          target_url: url,
          description,
          ...(payload.data.branch && { ref: payload.data.branch }),
        },
      );
    case 'gitea':
    case 'forgejo': {
      // It may be installed below a path.
      const api = [origin, ...path.slice(0, -2).map(encodeURIComponent), 'api/v1'].join('/');
      return post(
        `${api}/repos/${lastTwo(path)}/statuses/${commit}`,
        { authorization: `token ${token}` },
        { state: githubWords[state], target_url: url, description, context },
      );
    }
    case 'bitbucket': {
      const isCloud = host === 'bitbucket.org';
      const to = isCloud
        ? `https://api.bitbucket.org/2.0/repositories/${lastTwo(path)}/commit/${commit}/statuses/build`
        : `${origin}/rest/build-status/1.0/commits/${commit}`;
      return post(
        to,
        { authorization: `Bearer ${token}` },
        {
          state: (isCloud ? bitbucketWords : bitbucketServerWords)[state],
          key: keyOf(context),
          name: context,
          url,
          description,
        },
      );
    }
    default:
      return { problem: `${safeText(provider)} has no commit status` };
  }
}

/** Whether an answer means that it has been told, and if not, whether to tell it again. */
export function judgeStatusAnswer(status: number, text: string): 'told' | 'again' | 'never' {
  if (status >= 200 && status < 300) return 'told';
  // GitLab's way to say that the commit has this status already.
  if (status === 400 && text.includes('Cannot transition status')) return 'told';
  return [400, 401, 404, 410, 422].includes(status) ? 'never' : 'again';
}

function descriptionOf({ type, data: { number, state, reason } }: EventPayload): string {
  if (type === 'release.crashed') return safeText(`v${number} ${reason}`, longestDescription);
  const how: Words = {
    queued: `deploy #${number} is queued`,
    running: `deploy #${number} has started`,
    live: `v${number} is live`,
    failed: `deploy #${number} ${reason ?? 'failed'}`,
    cancelled: `deploy #${number} ${reason ?? 'was cancelled'}`,
    superseded: `deploy #${number} ${reason ?? 'was superseded'}`,
  };
  return state === null ? '' : safeText(how[state], longestDescription);
}

/** Behind ssh, too, there is a forge that answers https, on its usual port. */
function placeOf(repository: string): { host: string; origin: string; path: string[] } | undefined {
  const remote = parseRemoteUrl(repository);
  if ('problem' in remote) return undefined;
  const { protocol, port, url } = remote;
  const [, short] = /^[^/:]+@[^/:]+:(.+)$/.exec(url) ?? [];
  const text = short ?? new URL(url).pathname;
  const path = text
    .replace(/\.git\/*$/, '')
    .split('/')
    .filter((segment) => segment !== '')
    .map(decoded);
  if (path.length < 2) return undefined;
  const host = remote.host
    .toLowerCase()
    .replace(/^ssh\.(?=github\.com$)|^altssh\.(?=(?:gitlab|bitbucket)\.)/, '');
  const name = host.includes(':') ? `[${host}]` : host;
  const origin = `https://${name}${protocol === 'https' && port !== 443 ? `:${port}` : ''}`;
  return { host, origin, path };
}

function lastTwo(path: readonly string[]): string {
  return path.slice(-2).map(encodeURIComponent).join('/');
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function keyOf(context: string): string {
  if (context.length <= longestKey) return context;
  const hash = createHash('sha256').update(context).digest('hex').slice(0, 8);
  return `${context.slice(0, longestKey - 9)}-${hash}`;
}
