import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { parseCommitSha } from '../domain/app.ts';
import type { WebhookEvent } from '../domain/webhook.ts';
import type { Signed } from './verify-delivery.ts';

/** Which header of a provider names the event, and which the delivery. */
const headerNames = {
  github: { event: 'x-github-event', id: ['x-github-delivery'] },
  gitlab: { event: 'x-gitlab-event', id: ['webhook-id', 'idempotency-key', 'x-gitlab-event-uuid'] },
  gitea: { event: 'x-gitea-event', id: ['x-gitea-delivery'] },
  forgejo: { event: 'x-forgejo-event', id: ['x-forgejo-delivery', 'x-gitea-delivery'] },
  bitbucket: { event: 'x-event-key', id: ['x-request-uuid', 'x-request-id'] },
  generic: { event: undefined, id: ['webhook-id', 'idempotency-key'] },
  registry: { event: undefined, id: [] },
  dockerhub: { event: undefined, id: [] },
  ghcr: { event: 'x-github-event', id: ['x-github-delivery'] },
} as const;

/** The sender's name of a delivery, or one made of what it says. */
export function deliveryId({ provider, headers, body }: Signed): string {
  for (const name of headerNames[provider].id) {
    const id = headers[name];
    if (typeof id === 'string' && /^[\x21-\x7e]{1,100}$/.test(id)) return id;
  }
  return createHash('sha256').update(body).digest('hex').slice(0, 32);
}

/**
 * What a delivery says; throws with one line when it makes no sense. Only for one whose signature is right. Of one that is
 * about several branches it is what it says of `branch`, if that is among them.
 */
export function readDelivery({ provider, headers, body }: Signed, branch: string): WebhookEvent {
  const name = eventName(provider, headers);
  const payload = parseBody(headers, body);
  switch (provider) {
    case 'github':
    case 'gitea':
    case 'forgejo':
      if (name === 'ping') return { kind: 'ping' };
      return name === 'push' ? readGithub(payload) : nothing(`the event ${name}`);
    case 'gitlab':
      return name === 'Push Hook' ? readGitlab(payload) : nothing(`the event ${name}`);
    case 'bitbucket':
      if (name === 'diagnostics:ping') return { kind: 'ping' };
      if (name === 'repo:push') return readBitbucketCloud(payload, branch);
      return name === 'repo:refs_changed'
        ? readBitbucketServer(payload, branch)
        : nothing(`the event ${name}`);
    case 'generic':
      return readGeneric(payload);
    case 'registry':
    case 'dockerhub':
    case 'ghcr':
      throw new Error('that is no forge');
  }
}

function eventName(provider: Signed['provider'], headers: IncomingHttpHeaders): string {
  const name = headerNames[provider].event;
  return name === undefined ? '' : String(headers[name] ?? '').slice(0, 50);
}

/** GitHub can be set to send its JSON inside a form. */
export function parseBody(headers: IncomingHttpHeaders, body: Buffer): unknown {
  const text = body.toString('utf8');
  const isForm = /^application\/x-www-form-urlencoded/i.test(headers['content-type'] ?? '');
  try {
    return JSON.parse(isForm ? (new URLSearchParams(text).get('payload') ?? '') : text);
  } catch {
    throw new Error('the body is not JSON');
  }
}

const repositoryUrls = z.object({
  clone_url: z.string().optional(),
  ssh_url: z.string().optional(),
  html_url: z.string().optional(),
  git_http_url: z.string().optional(),
  git_ssh_url: z.string().optional(),
});
const commitMessage = z.object({ id: z.string(), message: z.string() });

const githubPush = z.object({
  ref: z.string(),
  before: z.string(),
  after: z.string(),
  deleted: z.boolean().optional(),
  head_commit: commitMessage.nullish(),
  commits: z.array(commitMessage).optional(),
  repository: repositoryUrls,
});

function readGithub(payload: unknown): WebhookEvent {
  const push = understand(githubPush, payload);
  const head = push.head_commit ?? push.commits?.find(({ id }) => id === push.after);
  return branchMoved(push.ref, push.before, push.deleted ? '' : push.after, head?.message, push.repository);
}

const gitlabPush = z.object({
  ref: z.string(),
  before: z.string(),
  after: z.string(),
  /** Null when the branch was deleted. */
  checkout_sha: z.string().nullish(),
  commits: z.array(commitMessage).optional(),
  project: repositoryUrls,
});

function readGitlab(payload: unknown): WebhookEvent {
  const push = understand(gitlabPush, payload);
  const head = push.commits?.find(({ id }) => id === push.after);
  return branchMoved(push.ref, push.before, push.after, head?.message, push.project);
}

const bitbucketSide = z.object({
  type: z.string(),
  name: z.string(),
  target: z.object({ hash: z.string(), message: z.string().optional() }),
});
const bitbucketCloudPush = z.object({
  push: z.object({
    changes: z.array(z.object({ old: bitbucketSide.nullish(), new: bitbucketSide.nullish() })),
  }),
  repository: z.object({
    full_name: z.string(),
    links: z.object({ html: z.object({ href: z.string() }) }).optional(),
  }),
});

function readBitbucketCloud(payload: unknown, branch: string): WebhookEvent {
  const { push, repository } = understand(bitbucketCloudPush, payload);
  const changes = push.changes.filter((change) => change.new?.type === 'branch');
  const urls = { html_url: repository.links?.html.href ?? repository.full_name };
  return several(
    changes.map(({ old, new: now }) =>
      branchMoved(
        `refs/heads/${now?.name}`,
        old?.target.hash ?? '',
        now?.target.hash ?? '',
        now?.target.message,
        urls,
      ),
    ),
    branch,
  );
}

const bitbucketServerPush = z.object({
  changes: z.array(
    z.object({ refId: z.string(), fromHash: z.string(), toHash: z.string(), type: z.string() }),
  ),
  repository: z.object({
    links: z.object({ clone: z.array(z.object({ href: z.string() })) }).optional(),
  }),
});

function readBitbucketServer(payload: unknown, branch: string): WebhookEvent {
  const { changes, repository } = understand(bitbucketServerPush, payload);
  const urls = (repository.links?.clone ?? []).map(({ href }) => href);
  return several(
    changes.map(({ refId, fromHash, toHash, type }) => {
      const event = branchMoved(refId, fromHash, type === 'DELETE' ? '' : toHash, undefined, {});
      return event.kind === 'push' ? { ...event, repositories: urls } : event;
    }),
    branch,
  );
}

const genericPush = z.object({
  ref: z.string(),
  after: z.string(),
  before: z.string().optional(),
  message: z.string().optional(),
});

function readGeneric(payload: unknown): WebhookEvent {
  const { ref, after, before, message } = understand(genericPush, payload);
  return branchMoved(ref, before ?? '', after, message, {});
}

function branchMoved(
  ref: string,
  before: string,
  after: string,
  message: string | undefined,
  urls: z.infer<typeof repositoryUrls>,
): WebhookEvent {
  const branch = /^refs\/heads\/([^\0-\x20\x7f]{1,200})$/.exec(ref)?.[1];
  if (branch === undefined) return nothing(`a push to ${ref.slice(0, 100)}, which is no branch`);
  if (after === '' || /^0+$/.test(after)) return nothing(`the branch ${branch} was deleted`);
  const commit = parseCommitSha(after);
  if (!commit) throw new Error('the commit is not the id of one');
  return {
    kind: 'push',
    branch,
    before: /^0*$/.test(before) ? undefined : parseCommitSha(before),
    commit,
    subject: (message ?? '').split('\n')[0]?.slice(0, 200) ?? '',
    message: (message ?? '').slice(0, 10_000),
    repositories: Object.values(urls).filter((url) => url !== undefined),
  };
}

function several(events: readonly WebhookEvent[], branch: string): WebhookEvent {
  const wanted = events.find((event) => event.kind === 'push' && event.branch === branch);
  return wanted ?? events[0] ?? nothing('no branch moved');
}

export function nothing(reason: string): WebhookEvent {
  return { kind: 'nothing', reason };
}

export function understand<T>(shape: z.ZodType<T>, payload: unknown): T {
  const result = shape.safeParse(payload);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new Error(`the delivery makes no sense: ${issue?.path.join('.')}: ${issue?.message}`.slice(0, 200));
}
