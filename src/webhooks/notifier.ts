import { randomUUID } from 'node:crypto';
import type { AppName } from '../domain/app.ts';
import { type Deployment, isFinal } from '../domain/deployment.ts';
import {
  allApps,
  type EventType,
  eventsOf,
  type Notice,
  type OutgoingWebhook,
  retryDelay,
  type StoredEvent,
  statusEvents,
  testPayload,
  type WebhookScope,
} from '../domain/outgoing-webhook.ts';
import { messageOf } from '../errors.ts';
import { Hints } from '../hints.ts';
import type { Logger } from '../logger.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { Outbox } from '../store/outbox.ts';
import type { OutgoingStore } from '../store/outgoing-store.ts';
import type { StoreEvents } from '../store/store-events.ts';
import { judgeStatusAnswer, statusRequest } from './commit-status.ts';
import { bodyOf, signatureHeaders } from './notice-body.ts';
import { type SendResult, type SendSettings, type SentRequest, sendRequest } from './send-request.ts';

export type NoticeRef = { scope: WebhookScope; webhook: string; id: string };

export type NotifierDeps = {
  outbox: Outbox;
  outgoing: OutgoingStore;
  deployments: DeploymentStore;
  events: StoreEvents;
  /** Has a notice sent, by whatever process is there then. `round` tells a sending that somebody asked for from the first. */
  enqueue: (notice: NoticeRef, round: string) => Promise<void>;
  /** Told once of every deployment that ended, and of every attempt to send. */
  onEnded: (deployment: Deployment) => void;
  onSent: (format: string, verdict: 'delivered' | 'failed') => void;
  appUrl: (app: AppName) => string;
  send: SendSettings;
  /** Milliseconds between one attempt and the next. */
  retries: readonly number[];
  logger: Logger;
};

type Verdict = { kind: 'delivered' | 'again' | 'never' | 'gone'; text: string; waitMs?: number | undefined };

const lookEveryMs = 1000;
const longestWaitMs = 24 * 3_600_000;

/**
 * Tells the outside what happened to deployments: from the outbox to a notice for each webhook, and from there to its
 * receiver.
 */
export class Notifier {
  readonly #deps: NotifierDeps;
  /** A commit's statuses go one after the other: the forge keeps the one that comes last. */
  readonly #turns = new Map<string, Promise<unknown>>();
  /** Events that could not be told, which is said once of each. */
  readonly #troubled = new Set<string>();
  readonly #stopListening: () => void;
  readonly #hints = new Hints();
  #running: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(deps: NotifierDeps) {
    this.#deps = deps;
    this.#stopListening = deps.events.listen((event) => {
      if (event.kind === 'announced') this.#hints.give();
    });
  }

  start(): void {
    this.#running = this.#emptyOutbox();
  }

  /** For a queue that was emptied: what waits in the store gets its place again. */
  async resume(scopes: readonly WebhookScope[]): Promise<void> {
    const { outgoing, enqueue } = this.#deps;
    for (const scope of scopes)
      for (const { id } of await outgoing.list(scope))
        for (const notice of await outgoing.waiting(scope, id)) await enqueue(refOf(notice), 'first');
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stopListening();
    this.#hints.give();
    // What is in the outbox stays there, and Redis may be away.
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, 2000);
    });
    await Promise.race([this.#running, late]);
    clearTimeout(timer);
  }

  async #emptyOutbox(): Promise<void> {
    while (!this.#stopped) {
      this.#hints.take();
      try {
        if ((await this.#tellSome()) > 0) continue;
      } catch (error) {
        this.#deps.logger.debug({ reason: messageOf(error) }, 'the outbox waits; Redis may be away');
      }
      await this.#hints.next(lookEveryMs);
    }
  }

  /** One that cannot be told now stays, and holds up no other. Returns how many were told. */
  async #tellSome(): Promise<number> {
    let last: StoredEvent | undefined;
    for (;;) {
      const events = await this.#deps.outbox.read(last?.id);
      let told = 0;
      for (const event of events) if (await this.#couldTell(event)) told += 1;
      last = events.at(-1);
      if (told > 0 || last === undefined) return told;
    }
  }

  async #couldTell(event: StoredEvent): Promise<boolean> {
    try {
      await this.#tell(event);
      return true;
    } catch (err) {
      if (!this.#troubled.has(event.id))
        this.#deps.logger.warn({ err, app: event.app }, 'an event waits: it cannot be told now');
      this.#troubled.add(event.id);
      return false;
    }
  }

  /** Fine to repeat: a notice has the same id each time. Only then is the event forgotten. */
  async #tell(event: StoredEvent): Promise<void> {
    const { outbox, outgoing, deployments, enqueue, appUrl, logger } = this.#deps;
    const deployment = await deployments.get(event.app, event.number);
    if (deployment) {
      const webhooks = [...(await outgoing.list(event.app)), ...(await outgoing.list(allApps))];
      for (const { id, payload } of eventsOf(event, deployment, appUrl(event.app))) {
        for (const webhook of webhooks) {
          if (webhook.disabled !== undefined || !wants(webhook, payload.type)) continue;
          const notice = newNotice(webhook, `msg_${webhook.id}_${id}`, payload);
          const begun = await outgoing.begin(notice);
          if (begun === 'too many')
            logger.warn({ app: event.app, webhook: webhook.id }, 'event not sent: too many wait');
          else await enqueue(refOf(notice), 'first');
        }
      }
    }
    const isMine = await outbox.remove(event.id);
    const isEnd = event.state === deployment?.state && isFinal(deployment.state);
    if (isMine && deployment && isEnd) this.#deps.onEnded(deployment);
  }

  /** Sends a notice unless that is done or not yet due. Returns in how many milliseconds it is due next. */
  async attempt(ref: NoticeRef): Promise<number | undefined> {
    const { outgoing } = this.#deps;
    const [notice, webhook] = await Promise.all([
      outgoing.notice(ref.scope, ref.webhook, ref.id),
      outgoing.get(ref.scope, ref.webhook),
    ]);
    if (!webhook || notice?.state !== 'waiting') return undefined;
    const early = (notice.nextAt?.getTime() ?? 0) - Date.now();
    if (early > 0) return early;
    if (webhook.disabled !== undefined) {
      await outgoing.note({ ...notice, state: 'dropped', nextAt: undefined, verdict: webhook.disabled });
      return undefined;
    }
    const concluded = await this.#send(notice, webhook, this.#deps.retries);
    return concluded.nextAt && Math.max(0, concluded.nextAt.getTime() - Date.now());
  }

  /** Sends a test at once, and once; returns what became of it. */
  async test(webhook: OutgoingWebhook): Promise<Notice> {
    const { outgoing, appUrl } = this.#deps;
    const url = webhook.scope === allApps ? null : appUrl(webhook.scope);
    const payload = testPayload(webhook.scope, url, new Date());
    const notice = newNotice(webhook, `msg_${webhook.id}_test-${randomUUID()}`, payload);
    await outgoing.begin(notice);
    return this.#send(notice, webhook, []);
  }

  /** Sends it again, with its old id and all the attempts of a new one. `undefined`: it is not kept any more. */
  async redeliver(ref: NoticeRef): Promise<Notice | undefined> {
    const notice = await this.#deps.outgoing.notice(ref.scope, ref.webhook, ref.id);
    if (!notice) return undefined;
    const again: Notice = { ...notice, state: 'waiting', attempts: 0, nextAt: undefined };
    await this.#deps.outgoing.note(again);
    await this.#deps.enqueue(ref, randomUUID());
    return again;
  }

  async #send(notice: Notice, webhook: OutgoingWebhook, retries: readonly number[]): Promise<Notice> {
    const { outgoing, logger, onSent } = this.#deps;
    const turn = `${webhook.id} ${webhook.format === 'status' ? notice.payload.data.commit : notice.id}`;
    const verdict = await this.#inTurn(turn, () => this.#try(notice, webhook));
    onSent(webhook.format, verdict.kind === 'delivered' ? 'delivered' : 'failed');
    const attempts = notice.attempts + 1;
    const delay = verdict.kind === 'again' ? retryDelay(retries, attempts, Math.random()) : undefined;
    const concluded: Notice = {
      ...notice,
      attempts,
      verdict: verdict.text,
      state: verdict.kind === 'delivered' ? 'delivered' : delay === undefined ? 'failed' : 'waiting',
      nextAt:
        delay === undefined
          ? undefined
          : new Date(Date.now() + Math.min(longestWaitMs, Math.max(delay, verdict.waitMs ?? 0))),
    };
    await outgoing.note(concluded);
    if (verdict.kind === 'gone') await outgoing.disable(webhook.scope, webhook.id, verdict.text);
    if (concluded.state === 'failed')
      logger.warn(
        { webhook: webhook.id, scope: webhook.scope, verdict: verdict.text },
        'event not delivered',
      );
    return concluded;
  }

  async #try(notice: Notice, webhook: OutgoingWebhook): Promise<Verdict> {
    const request = await this.#requestFor(notice, webhook);
    if ('done' in request) return { kind: 'delivered', text: request.done };
    if ('problem' in request) return { kind: 'never', text: request.problem };
    return judge(await sendRequest(request, this.#deps.send), webhook);
  }

  async #requestFor(
    { id, payload }: Notice,
    webhook: OutgoingWebhook,
  ): Promise<SentRequest | { problem: string } | { done: string }> {
    const { scope, url, format, provider } = webhook;
    const secrets = await this.#deps.outgoing.secrets(scope, webhook.id);
    if (format === 'status') {
      if (payload.data.commit === null) return { done: 'not sent: it is about an image' };
      const isOld = await this.#isOvertaken(payload.data);
      return isOld ? { done: isOld } : statusRequest(provider ?? '', url, secrets[0] ?? '', payload);
    }
    const body = bodyOf(payload, format);
    return { url, body, headers: signatureHeaders(id, body, secrets, new Date()) };
  }

  /** A forge keeps what it hears last: a word that comes late is not said any more. */
  async #isOvertaken(data: Notice['payload']['data']): Promise<string | undefined> {
    const { app, number, state } = data;
    if (app === null || number === null || state === null) return undefined;
    const [latest] = (await this.#deps.deployments.list(app as AppName, 20)).filter(
      ({ commit }) => commit === data.commit,
    );
    if (latest && latest.number > number) return `not sent: #${latest.number} is about the same commit`;
    return latest && !isFinal(state) && latest.state !== state
      ? `not sent: #${number} is ${latest.state} by now`
      : undefined;
  }

  async #inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(name) ?? Promise.resolve()).then(work, work);
    this.#turns.set(name, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(name) === turn) this.#turns.delete(name);
    }
  }
}

/** A commit has a status for all of them, also for those that are newer than its webhook. */
function wants({ format, events }: OutgoingWebhook, type: EventType): boolean {
  return (format === 'status' ? statusEvents : events).includes(type);
}

function newNotice(webhook: OutgoingWebhook, id: string, payload: Notice['payload']): Notice {
  return {
    id,
    scope: webhook.scope,
    webhook: webhook.id,
    payload,
    createdAt: new Date(),
    state: 'waiting',
    attempts: 0,
    verdict: undefined,
    nextAt: undefined,
  };
}

function refOf({ scope, webhook, id }: Notice): NoticeRef {
  return { scope, webhook, id };
}

function judge(result: SendResult, { format }: OutgoingWebhook): Verdict {
  if ('problem' in result) return { kind: 'again', text: result.problem };
  const { status, text, retryAfter } = result;
  const waitMs = retryAfter === undefined ? undefined : retryAfter * 1000;
  const answered = `answered ${status}`;
  if (format === 'status') {
    const kind = { told: 'delivered', again: 'again', never: 'never' } as const;
    return {
      kind: kind[judgeStatusAnswer(status, text)],
      text: answered + (whyRefused[status] ?? ''),
      waitMs,
    };
  }
  if (status >= 200 && status < 300) return { kind: 'delivered', text: answered };
  if (status === 410) return { kind: 'gone', text: `${answered} Gone, which means: send no more` };
  const isElsewhere = status >= 300 && status < 400;
  return {
    kind: 'again',
    text: isElsewhere ? `${answered}, a redirect, which is not followed` : answered,
    waitMs,
  };
}

const whyRefused: Record<number, string> = {
  401: ': the token is not good',
  403: ': the token may not write the status of a commit',
  404: ': no such repository or commit, or the token may not see it',
};
