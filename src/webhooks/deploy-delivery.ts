import { type App, type AppName, type CommitSha, shortSha } from '../domain/app.ts';
import { isFinal } from '../domain/deployment.ts';
import { type ImageSource, showImageSource } from '../domain/image-reference.ts';
import { safeText } from '../domain/safe-text.ts';
import { noCommit } from '../domain/source.ts';
import {
  type Delivery,
  type ImageEvent,
  type PushEvent,
  reasonToSkip,
  type WebhookLink,
} from '../domain/webhook.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentRequest, DeploymentStore } from '../store/deployment-store.ts';
import type { ReleaseStore } from '../store/release-store.ts';
import type { WebhookStore } from '../store/webhook-store.ts';

export type DeliveryDeps = {
  apps: AppStore;
  deployments: DeploymentStore;
  releases: ReleaseStore;
  webhooks: WebhookStore;
  /** Brings a commit of the linked repository here, or says why it cannot. */
  fetch: (app: AppName, url: string, sshKey: string | undefined, commit: CommitSha) => Promise<FetchProblem>;
  /** The message of a commit that is here. */
  messageOf: (app: AppName, commit: CommitSha) => Promise<string>;
  /** Asks for a deployment of a commit that is here. `attached`: that commit was on its way already. */
  deploy: (request: DeploymentRequest) => Promise<{ number: number; attached: boolean }>;
  /** Asks for a deployment of an image. */
  deployImage: (request: DeploymentRequest) => Promise<number>;
  branchHead: (app: AppName, branch: string) => Promise<CommitSha | undefined>;
  isAncestor: (app: AppName, ancestor: CommitSha, descendant: CommitSha) => Promise<boolean>;
};

export type FetchProblem = { problem: string; hint?: string | undefined } | undefined;

/** `first`, or a name of its own for each time that somebody wants it again: then nothing is a reason to ignore it. */
export type Round = string;

/** `isOld`: something newer came before it. */
type Ignored = { reason: string; isOld: boolean };

const noBranch = '0'.repeat(40);
/** Begins the ids of deliveries that nobody sent. */
export const pollMark = 'poll-';

/** Makes a deployment of what a delivery tells of, unless something speaks against it. Returns it with its verdict. */
export function deployDelivery(
  deps: DeliveryDeps,
  delivery: Delivery,
  event: PushEvent | ImageEvent,
  link: WebhookLink,
  attempt: Round,
): Promise<Delivery> {
  return event.kind === 'image'
    ? deployImage(deps, delivery, event, link, attempt)
    : deployPush(deps, delivery, event, link, attempt);
}

async function deployPush(
  deps: DeliveryDeps,
  delivery: Delivery,
  event: PushEvent,
  link: WebhookLink,
  attempt: Round,
): Promise<Delivery> {
  const { apps, webhooks, fetch, deploy, branchHead } = deps;
  const app = await apps.get(delivery.app);
  if (!app) return webhooks.conclude(delivery, { state: 'ignored', reason: 'the app is gone' });
  const problem = await fetch(app.name, link.repository, await webhooks.sshKey(app.name), event.commit);
  if (problem) {
    const reason = [problem.problem, problem.hint].filter((text) => text !== undefined).join('; ');
    return webhooks.conclude(delivery, {
      state: 'failed',
      reason: `not fetched: ${safeText(reason, 300)}`,
    });
  }
  const ignored = attempt === 'first' ? await whyIgnored(deps, app, event) : undefined;
  const isTip = attempt === 'first' && (!ignored?.isOld || delivery.id.startsWith(pollMark));
  if (isTip) await webhooks.noteTip(app.name, event.commit);
  if (ignored) return webhooks.conclude(delivery, { state: 'ignored', reason: ignored.reason });
  const branch = app.branch || link.branch;
  const { number } = await deploy({
    app: app.name,
    requestId: `webhook ${app.name} ${delivery.id} ${attempt}`,
    trigger: 'webhook',
    commit: event.commit,
    pull: undefined,
    subject: event.subject,
    branch,
    oldSha: (await branchHead(app.name, branch)) ?? noBranch,
    by: link.provider,
    noCache: false,
    image: undefined,
  });
  return webhooks.conclude(delivery, { state: 'deploying', number });
}

/** What is deployed is the digest that was pushed; where nobody says which, the tag is looked up by the deployment. */
async function deployImage(
  deps: DeliveryDeps,
  delivery: Delivery,
  { digest, at }: ImageEvent,
  { repository, tag, provider }: WebhookLink,
  attempt: Round,
): Promise<Delivery> {
  const { apps, webhooks } = deps;
  const app = await apps.get(delivery.app);
  if (!app) return webhooks.conclude(delivery, { state: 'ignored', reason: 'the app is gone' });
  const pull = { reference: `${repository}:${tag}`, digest };
  const reason = attempt === 'first' ? await whyImageIgnored(deps, app, pull, at) : undefined;
  if (reason !== undefined) return webhooks.conclude(delivery, { state: 'ignored', reason });
  const number = await deps.deployImage({
    app: app.name,
    requestId: `webhook ${app.name} ${delivery.id} ${attempt}`,
    trigger: 'webhook',
    commit: noCommit,
    pull,
    subject: '',
    branch: '',
    oldSha: '',
    by: provider,
    noCache: false,
    image: undefined,
  });
  return webhooks.conclude(delivery, { state: 'deploying', number });
}

async function whyImageIgnored(
  { webhooks, releases, deployments }: DeliveryDeps,
  app: App,
  pull: ImageSource,
  at: ImageEvent['at'],
): Promise<string | undefined> {
  if (at !== undefined) {
    const seen = await webhooks.seenImageAt(app.name);
    if (seen !== undefined && at < seen) return `what was pushed at ${seen}, which is later, came before it`;
    await webhooks.noteImageAt(app.name, at);
  }
  if (pull.digest === undefined || app.live === undefined) return undefined;
  const desired = await deployments.desired(app.name);
  if (desired && !isFinal(desired.state)) return undefined;
  const live = (await releases.get(app.name, app.live))?.pull;
  const isLive = live !== undefined && showImageSource(live) === showImageSource(pull);
  return isLive ? `${showImageSource(pull)} is live already` : undefined;
}

async function whyIgnored(deps: DeliveryDeps, app: App, event: PushEvent): Promise<Ignored | undefined> {
  // Not everybody who speaks of a commit tells its message.
  const message = event.message || (await deps.messageOf(app.name, event.commit));
  const reason = reasonToSkip(message);
  return reason === undefined ? whatIsNewer(deps, app, event) : { reason, isOld: false };
}

/**
 * Deliveries may overtake each other. An older one is known by what the branch was before: had it been moved back to the
 * commit on purpose, it would have come from where we are.
 */
async function whatIsNewer(
  { deployments, releases, isAncestor }: DeliveryDeps,
  app: App,
  event: PushEvent,
): Promise<Ignored | undefined> {
  const desired = await deployments.desired(app.name);
  const live = app.live === undefined ? undefined : await releases.get(app.name, app.live);
  const isOnItsWay = desired?.state === 'queued' || desired?.state === 'running';
  if (live?.commit === event.commit && !isOnItsWay)
    return { reason: `${shortSha(event.commit)} is live already`, isOld: false };
  const current = isOnItsWay ? desired : live;
  const latest = current?.pull ? undefined : current?.commit;
  if (latest === undefined || latest === event.commit || event.before === latest) return undefined;
  return (await isAncestor(app.name, event.commit, latest))
    ? { reason: `${shortSha(latest)}, which is newer, came before it`, isOld: true }
    : undefined;
}
