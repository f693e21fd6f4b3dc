import type { AppName, CommitSha } from '../domain/app.ts';
import { safeText } from '../domain/safe-text.ts';
import {
  type Delivery,
  type ImageEvent,
  isOfImages,
  type PushEvent,
  reasonToIgnore,
  reasonToIgnoreImage,
  type WebhookEvent,
  type WebhookLink,
} from '../domain/webhook.ts';
import { messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';
import {
  type DeliveryDeps,
  deployDelivery,
  type FetchProblem,
  pollMark,
  type Round,
} from './deploy-delivery.ts';
import { deliveryId, readDelivery } from './read-delivery.ts';
import { readImageDelivery } from './read-image-delivery.ts';
import { problemOfSignature, type Signed } from './verify-delivery.ts';

export type WebhookDeps = DeliveryDeps & {
  /** The commit the branch of the linked repository ends in. */
  tipOf: (
    app: AppName,
    url: string,
    sshKey: string | undefined,
    branch: string,
  ) => Promise<{ commit: CommitSha } | { problem: string; hint?: string | undefined }>;
  logger: Logger;
};

/** What the sender is told. `reason` is meant for a person who looks at the forge's list of deliveries. */
export type WebhookAnswer = {
  status: 200 | 202 | 400 | 401 | 404;
  body: { state: Delivery['state']; reason?: string; number?: number; delivery?: string };
};

/** Forges give up on an answer after ten seconds. */
const answerWithinMs = 8000;

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
    attempt: Round,
  ): Promise<Delivery> {
    const { app } = delivery;
    const turn = (this.#turns.get(app) ?? Promise.resolve()).then(async () => {
      try {
        return await deployDelivery(this.#deps, delivery, event, link, attempt);
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
