import { type App, type AppName, type CommitSha, shortSha } from '../domain/app.ts';
import { type Deployment, isFinal } from '../domain/deployment.ts';
import { showImageSource } from '../domain/image-reference.ts';
import { safeText } from '../domain/safe-text.ts';
import { noCommit } from '../domain/source.ts';
import {
  type Delivery,
  type ImageEvent,
  isOfImages,
  type PushEvent,
  reasonToIgnore,
  reasonToIgnoreImage,
  reasonToSkip,
  type WebhookEvent,
  type WebhookLink,
} from '../domain/webhook.ts';
import { messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentRequest, DeploymentStore } from '../store/deployment-store.ts';
import type { ReleaseStore } from '../store/release-store.ts';
import type { WebhookStore } from '../store/webhook-store.ts';
import { deliveryId, readDelivery } from './read-delivery.ts';
import { readImageDelivery } from './read-image-delivery.ts';
import { problemOfSignature, type Signed } from './verify-delivery.ts';

export type WebhookDeps = {
  apps: AppStore;
  deployments: DeploymentStore;
  releases: ReleaseStore;
  webhooks: WebhookStore;
  /** Brings a commit of the linked repository here, or says why it cannot. */
  fetch: (app: AppName, url: string, sshKey: string | undefined, commit: CommitSha) => Promise<FetchProblem>;
  /** The commit the branch of the linked repository ends in. */
  tipOf: (
    app: AppName,
    url: string,
    sshKey: string | undefined,
    branch: string,
  ) => Promise<{ commit: CommitSha } | { problem: string; hint?: string | undefined }>;
  /** The message of a commit that is here. */
  messageOf: (app: AppName, commit: CommitSha) => Promise<string>;
  /** Asks for a deployment of a commit that is here. `attached`: that commit was on its way already. */
  deploy: (request: DeploymentRequest) => Promise<{ number: number; attached: boolean }>;
  /** Asks for a deployment of an image. */
  deployImage: (request: DeploymentRequest) => Promise<number>;
  branchHead: (app: AppName, branch: string) => Promise<CommitSha | undefined>;
  isAncestor: (app: AppName, ancestor: CommitSha, descendant: CommitSha) => Promise<boolean>;
  logger: Logger;
};

type FetchProblem = { problem: string; hint?: string | undefined } | undefined;

/** What the sender is told. `reason` is meant for a person who looks at the forge's list of deliveries. */
export type WebhookAnswer = {
  status: 200 | 202 | 400 | 401 | 404;
  body: { state: Delivery['state']; reason?: string; number?: number; delivery?: string };
};

/** Forges give up on an answer after ten seconds. */
const answerWithinMs = 8000;
const noBranch = '0'.repeat(40);
/** Begins the ids of deliveries that nobody sent. */
const pollMark = 'poll-';

/** Takes what forges say and makes deployments of it. */
export class WebhookReceiver {
  readonly #deps: WebhookDeps;
  /** Deliveries of one app are dealt with one after the other, so that what is decided about one is true. */
  readonly #turns = new Map<AppName, Promise<unknown>>();
  /** A look may take longer than the time to the next. */
  readonly #polled = new Set<AppName>();

  constructor(deps: WebhookDeps) {
    this.#deps = deps;
  }

  async receive(app: AppName, signed: Signed): Promise<WebhookAnswer> {
    const { webhooks } = this.#deps;
    const link = await webhooks.get(app);
    if (link?.provider !== signed.provider) {
      const reason = `${app} is not linked to ${signed.provider}; gantry webhooks link says what to do`;
      return { status: 404, body: { state: 'refused', reason } };
    }
    const delivery: Delivery = {
      id: deliveryId(signed),
      app,
      provider: link.provider,
      receivedAt: new Date(),
      state: 'ignored',
      reason: undefined,
      number: undefined,
      push: undefined,
      image: undefined,
    };
    const problem = problemOfSignature(signed, await webhooks.secrets(app), new Date());
    if (problem !== undefined) return this.#refuse(delivery, 401, problem);
    let event: WebhookEvent;
    try {
      event = isOfImages(link.provider) ? readImageDelivery(signed, link) : readDelivery(signed, link.branch);
    } catch (error) {
      return this.#refuse(delivery, 400, safeText(messageOf(error), 200));
    }
    return this.#take(delivery, event, link);
  }

  /** Deals with a delivery again, whatever became of it. `undefined`: it is not kept any more, or there was nothing to do. */
  async redeliver(app: AppName, id: string): Promise<WebhookAnswer | undefined> {
    const [delivery, link] = await Promise.all([
      this.#deps.webhooks.find(app, id),
      this.#deps.webhooks.get(app),
    ]);
    const event = delivery && eventOf(delivery);
    if (!event || !link || isOfImages(link.provider) !== (event.kind === 'image')) return undefined;
    return answerTo(await this.#inTurn(delivery, event, link, `again ${Date.now()}`));
  }

  /**
   * Looks at the branch of the linked repository, and deals with a commit that nobody said anything about as if somebody
   * had. `tick` is the same when one look is repeated.
   */
  async poll(app: AppName, tick: string): Promise<void> {
    if (this.#polled.has(app)) return;
    this.#polled.add(app);
    try {
      await this.#poll(app, tick);
    } finally {
      this.#polled.delete(app);
    }
  }

  async #poll(app: AppName, tick: string): Promise<void> {
    const { webhooks, tipOf, fetch } = this.#deps;
    const link = await webhooks.get(app);
    if (link?.pollSeconds === undefined) return;
    const sshKey = await webhooks.sshKey(app);
    const found = await tipOf(app, link.repository, sshKey, link.branch);
    if ('problem' in found) return this.#notePoll(app, found);
    // What was said about it meanwhile is being dealt with.
    await this.#turns.get(app);
    const before = await webhooks.seenTip(app);
    const { commit } = found;
    const problem = before === commit ? undefined : await fetch(app, link.repository, sshKey, commit);
    await this.#notePoll(app, problem);
    if (before === commit || problem) return;
    const event: PushEvent = {
      kind: 'push',
      branch: link.branch,
      before,
      commit,
      subject: '',
      message: '',
      repositories: [],
    };
    const delivery: Delivery = {
      id: `${pollMark}${commit.slice(0, 12)}-${tick}`,
      app,
      provider: link.provider,
      receivedAt: new Date(),
      state: 'fetching',
      reason: undefined,
      number: undefined,
      push: event,
      image: undefined,
    };
    const { isNew } = await webhooks.begin(delivery);
    if (isNew) await this.#inTurn(delivery, event, link, 'first');
  }

  /** One line when it begins to fail, and one when that is over, however often it is looked at in between. */
  async #notePoll(app: AppName, failed: FetchProblem): Promise<void> {
    const { webhooks, logger } = this.#deps;
    const problem = failed && safeText([failed.problem, failed.hint].filter(Boolean).join('; '), 300);
    const before = await webhooks.notePoll(app, problem);
    if (problem === before?.problem) return;
    if (problem === undefined) logger.info({ app }, 'the linked repository can be looked at again');
    else logger.warn({ app, reason: problem }, 'the linked repository cannot be looked at');
  }

  /** Goes on with what was being fetched when the last server ended. */
  async resume(): Promise<void> {
    for (const { name } of await this.#deps.apps.list()) {
      const link = await this.#deps.webhooks.get(name);
      const deliveries = link ? await this.#deps.webhooks.deliveries(name) : [];
      for (const delivery of deliveries.reverse()) {
        const event = eventOf(delivery);
        if (link && delivery.state === 'fetching' && event)
          await this.#inTurn(delivery, event, link, 'first');
      }
    }
  }

  async #refuse(delivery: Delivery, status: 400 | 401, reason: string): Promise<WebhookAnswer> {
    await this.#deps.webhooks.noteRefused({ ...delivery, state: 'refused', reason });
    return { status, body: { state: 'refused', reason } };
  }

  async #take(delivery: Delivery, event: WebhookEvent, link: WebhookLink): Promise<WebhookAnswer> {
    const noted: Delivery = { ...delivery, ...firstVerdict(event, link) };
    const begun = await this.#deps.webhooks.begin(noted);
    if (!begun.isNew) {
      const number = begun.earlier?.number;
      const reason = 'this delivery came before';
      return {
        status: 200,
        body: { state: 'ignored', reason, delivery: delivery.id, ...(number !== undefined && { number }) },
      };
    }
    const work = eventOf(noted);
    if (noted.state !== 'fetching' || !work) return answerTo(noted);
    const working = this.#inTurn(noted, work, link, 'first');
    const late = new Promise<Delivery>((resolve) => {
      setTimeout(() => resolve(noted), answerWithinMs).unref();
    });
    return answerTo(await Promise.race([working, late]));
  }

  /** Never rejects: what goes wrong is the verdict. */
  #inTurn(
    delivery: Delivery,
    event: PushEvent | ImageEvent,
    link: WebhookLink,
    attempt: string,
  ): Promise<Delivery> {
    const { app } = delivery;
    const turn = (this.#turns.get(app) ?? Promise.resolve()).then(async () => {
      try {
        return event.kind === 'image'
          ? await this.#deployImage(delivery, event, link, attempt)
          : await this.#deploy(delivery, event, link, attempt);
      } catch (err) {
        this.#deps.logger.error({ err, app, delivery: delivery.id }, 'delivery was not dealt with');
        const reason = 'the server could not deal with it; its log says more';
        return this.#deps.webhooks
          .conclude(delivery, { state: 'failed', reason })
          .catch((): Delivery => ({ ...delivery, state: 'failed', reason }));
      }
    });
    this.#turns.set(app, turn);
    void turn.finally(() => this.#turns.get(app) === turn && this.#turns.delete(app));
    return turn;
  }

  async #deploy(delivery: Delivery, event: PushEvent, link: WebhookLink, attempt: string): Promise<Delivery> {
    const { apps, webhooks, fetch, deploy, branchHead } = this.#deps;
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
    const ignored = attempt === 'first' ? await this.#whyIgnored(app, event) : undefined;
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
  async #deployImage(
    delivery: Delivery,
    { digest, at }: ImageEvent,
    { repository, tag, provider }: WebhookLink,
    attempt: string,
  ): Promise<Delivery> {
    const { apps, webhooks, releases, deployments } = this.#deps;
    const app = await apps.get(delivery.app);
    if (!app) return webhooks.conclude(delivery, { state: 'ignored', reason: 'the app is gone' });
    const pull = { reference: `${repository}:${tag}`, digest };
    if (attempt === 'first') {
      const seen = at === undefined ? undefined : await webhooks.seenImageAt(app.name);
      if (seen !== undefined && at !== undefined && at < seen)
        return webhooks.conclude(delivery, {
          state: 'ignored',
          reason: `what was pushed at ${seen}, which is later, came before it`,
        });
      if (at !== undefined) await webhooks.noteImageAt(app.name, at);
      const desired = await deployments.desired(app.name);
      const live = app.live === undefined ? undefined : await releases.get(app.name, app.live);
      const isSettled = desired === undefined || isFinal(desired.state);
      if (
        isSettled &&
        digest !== undefined &&
        live?.pull &&
        showImageSource(live.pull) === showImageSource(pull)
      )
        return webhooks.conclude(delivery, {
          state: 'ignored',
          reason: `${showImageSource(pull)} is live already`,
        });
    }
    const number = await this.#deps.deployImage({
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

  /** `isOld`: something newer came before it. */
  async #whyIgnored(app: App, event: PushEvent): Promise<{ reason: string; isOld: boolean } | undefined> {
    // Not everybody who speaks of a commit tells its message.
    const message = event.message || (await this.#deps.messageOf(app.name, event.commit));
    const reason = reasonToSkip(message);
    return reason === undefined ? this.#whatIsNewer(app, event) : { reason, isOld: false };
  }

  /**
   * Deliveries may overtake each other. An older one is known by what the branch was before: had it been moved back to the
   * commit on purpose, it would have come from where we are.
   */
  async #whatIsNewer(app: App, event: PushEvent): Promise<{ reason: string; isOld: boolean } | undefined> {
    const { deployments, releases, isAncestor } = this.#deps;
    const desired: Deployment | undefined = await deployments.desired(app.name);
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
}

function firstVerdict(
  event: WebhookEvent,
  link: WebhookLink,
): Pick<Delivery, 'state' | 'reason'> & { push?: PushEvent; image?: ImageEvent } {
  if (event.kind === 'ping') return { state: 'connected', reason: undefined };
  if (event.kind === 'nothing') return { state: 'ignored', reason: safeText(event.reason, 200) };
  if (event.kind === 'image') {
    const about = reasonToIgnoreImage(event, link);
    const reason = about === undefined ? undefined : safeText(about, 200);
    return { state: reason === undefined ? 'fetching' : 'ignored', reason, image: event };
  }
  const reason = reasonToIgnore(event, link);
  if (reason !== undefined) return { state: 'ignored', reason: safeText(reason, 200), push: event };
  return { state: 'fetching', reason: undefined, push: event };
}

/** What there is to be done about a delivery. */
function eventOf({ push, image }: Delivery): PushEvent | ImageEvent | undefined {
  return push ?? image;
}

function answerTo({ id, state, reason, number }: Delivery): WebhookAnswer {
  const isWork = state === 'deploying' || state === 'fetching';
  return {
    status: isWork ? 202 : 200,
    body: {
      state,
      delivery: id,
      ...(reason !== undefined && { reason }),
      ...(number !== undefined && { number }),
    },
  };
}
