import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type {
  EventType,
  Notice,
  OutgoingWebhook,
  WebhookFormat,
  WebhookScope,
} from '../domain/outgoing-webhook.ts';
import { keys } from './keys.ts';
import type { Sealer } from './sealing.ts';

const noticesKept = 50;
/** Of a receiver that is away for days: what comes on top is not sent. */
const mostWaiting = 1000;
/** How long the secret before the last one signs as well. */
const oldSecretSeconds = 86_400;

/** Where events go, the secrets they are signed with, and what became of each. */
export class OutgoingStore {
  readonly #redis: Redis;
  readonly #sealer: Sealer;

  constructor(redis: Redis, sealer: Sealer) {
    this.#redis = redis;
    this.#sealer = sealer;
  }

  /** `secret`: a forge's token for a commit status; otherwise one is made. It is shown this once. */
  async add(
    webhook: Omit<OutgoingWebhook, 'id' | 'createdAt' | 'disabled'>,
    fixed: { id?: string; secret?: string } = {},
  ): Promise<{ id: string; secret: string }> {
    const { scope, url, format, events, provider, createdBy } = webhook;
    const { id = randomBytes(5).toString('hex'), secret = newSecret() } = fixed;
    const fields = {
      url: this.#seal(scope, id, 'url', url),
      secret: this.#seal(scope, id, 'secret', secret),
      format,
      events: events.join(' '),
      provider: provider ?? '',
      createdAt: new Date().toISOString(),
      createdBy,
    };
    const key = keys.outgoingWebhook(scope, id);
    await this.#redis.multi().del(key).hset(key, fields).sadd(keys.outgoing(scope), id).exec();
    return { id, secret };
  }

  async get(scope: WebhookScope, id: string): Promise<OutgoingWebhook | undefined> {
    const fields = await this.#redis.hgetall(keys.outgoingWebhook(scope, id));
    if (!fields.url) return undefined;
    return {
      id,
      scope,
      url: this.#open(scope, id, 'url', fields.url),
      format: fields.format as WebhookFormat,
      events: (fields.events ?? '').split(' ') as EventType[],
      provider: fields.provider || undefined,
      createdAt: new Date(fields.createdAt ?? 0),
      createdBy: fields.createdBy ?? '',
      disabled: fields.disabled || undefined,
    };
  }

  /** The oldest first. */
  async list(scope: WebhookScope): Promise<OutgoingWebhook[]> {
    const ids = await this.#redis.smembers(keys.outgoing(scope));
    const found = await Promise.all(ids.map((id) => this.get(scope, id)));
    return found
      .filter((webhook) => webhook !== undefined)
      .sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime());
  }

  /** False: there was none. What waits to be sent to it is forgotten. */
  async remove(scope: WebhookScope, id: string): Promise<boolean> {
    const key = keys.outgoingWebhook(scope, id);
    const doomed = [keys.notices(scope, id), keys.noticeIds(scope, id)];
    const [, , removed] =
      (await this.#redis
        .multi()
        .del(key)
        .del(...doomed)
        .srem(keys.outgoing(scope), id)
        .exec()) ?? [];
    return removed?.[1] === 1;
  }

  /** The one of now first, and for a day the one before. */
  async secrets(scope: WebhookScope, id: string): Promise<string[]> {
    const key = keys.outgoingWebhook(scope, id);
    const [now, before, until] = await this.#redis.hmget(key, 'secret', 'oldSecret', 'oldSecretUntil');
    const isGood = until && new Date(until) > new Date();
    return [now, isGood ? before : null].flatMap((sealed) =>
      sealed ? [this.#open(scope, id, 'secret', sealed)] : [],
    );
  }

  /** Returns the new secret. `undefined`: there is no such webhook. */
  async rotateSecret(scope: WebhookScope, id: string): Promise<string | undefined> {
    const before = await this.#redis.hget(keys.outgoingWebhook(scope, id), 'secret');
    if (!before) return undefined;
    const secret = newSecret();
    const isThere = await this.#change(scope, id, {
      secret: this.#seal(scope, id, 'secret', secret),
      oldSecret: before,
      oldSecretUntil: new Date(Date.now() + oldSecretSeconds * 1000).toISOString(),
    });
    return isThere ? secret : undefined;
  }

  /** With an empty reason it is sent to again. False: there is no such webhook. */
  async disable(scope: WebhookScope, id: string, reason: string): Promise<boolean> {
    return this.#change(scope, id, { disabled: reason });
  }

  /** Notes a notice to be sent; `already`: it was noted before, and stays as it is. */
  async begin(notice: Notice): Promise<'begun' | 'already' | 'too many'> {
    const { scope, webhook, id } = notice;
    return (await this.#redis.eval(
      beginScript,
      3,
      keys.notices(scope, webhook),
      keys.noticeIds(scope, webhook),
      keys.outgoingWebhook(scope, webhook),
      id,
      JSON.stringify(notice),
      noticesKept,
      mostWaiting,
    )) as 'begun' | 'already' | 'too many';
  }

  /** What became of an attempt. Of those that are over the last fifty stay. */
  async note(notice: Notice): Promise<void> {
    const { scope, webhook, id } = notice;
    await this.#redis.eval(
      noteScript,
      2,
      keys.notices(scope, webhook),
      keys.noticeIds(scope, webhook),
      id,
      JSON.stringify(notice),
      notice.state,
      noticesKept,
    );
  }

  async notice(scope: WebhookScope, webhook: string, id: string): Promise<Notice | undefined> {
    const text = await this.#redis.hget(keys.notices(scope, webhook), id);
    return text ? parseNotice(text) : undefined;
  }

  /** The last fifty, the newest first. */
  async notices(scope: WebhookScope, webhook: string): Promise<Notice[]> {
    const ids = await this.#redis.lrange(keys.noticeIds(scope, webhook), 0, noticesKept - 1);
    if (ids.length === 0) return [];
    const texts = await this.#redis.hmget(keys.notices(scope, webhook), ...ids);
    return texts.flatMap((text) => (text ? [parseNotice(text)] : []));
  }

  /** Those that are still to be sent. */
  async waiting(scope: WebhookScope, webhook: string): Promise<Notice[]> {
    const texts = await this.#redis.hvals(keys.notices(scope, webhook));
    return texts.map(parseNotice).filter(({ state }) => state === 'waiting');
  }

  async #change(scope: WebhookScope, id: string, fields: Record<string, string>): Promise<boolean> {
    const key = keys.outgoingWebhook(scope, id);
    return (await this.#redis.eval(changeScript, 1, key, ...Object.entries(fields).flat())) === 1;
  }

  #seal(scope: WebhookScope, id: string, name: string, value: string): string {
    return this.#sealer.seal(value, `${scope}\0outgoing ${id} ${name}`);
  }

  #open(scope: WebhookScope, id: string, name: string, sealed: string): string {
    return this.#sealer.open(sealed, `${scope}\0outgoing ${id} ${name}`);
  }
}

function newSecret(): string {
  return `whsec_${randomBytes(32).toString('base64')}`;
}

function parseNotice(text: string): Notice {
  const { createdAt, nextAt, verdict, ...rest } = JSON.parse(text) as Omit<Notice, 'createdAt' | 'nextAt'> & {
    createdAt: string;
    nextAt?: string;
  };
  return { ...rest, verdict, createdAt: new Date(createdAt), nextAt: nextAt ? new Date(nextAt) : undefined };
}

/** It may have been removed meanwhile. */
const changeScript = `
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
`;

/** What is still to be sent is never forgotten for what came later. */
const trimInLua = `
local function isOver(text) return cjson.decode(text).state ~= 'waiting' end
local function trim(notices, ids, kept)
  local listed = {}
  for _, id in ipairs(redis.call('LRANGE', ids, 0, kept - 1)) do listed[id] = true end
  redis.call('LTRIM', ids, 0, kept - 1)
  if redis.call('HLEN', notices) <= tonumber(kept) then return end
  local all = redis.call('HGETALL', notices)
  for i = 1, #all, 2 do
    if not listed[all[i]] and isOver(all[i + 1]) then redis.call('HDEL', notices, all[i]) end
  end
end
`;

const beginScript = `${trimInLua}
local notices, ids, webhook = unpack(KEYS)
local id, text, kept, most = unpack(ARGV)
if redis.call('HEXISTS', notices, id) == 1 or redis.call('EXISTS', webhook) == 0 then return 'already' end
if redis.call('HLEN', notices) >= tonumber(most) then return 'too many' end
redis.call('HSET', notices, id, text)
redis.call('LPUSH', ids, id)
trim(notices, ids, kept)
return 'begun'
`;

const noteScript = `${trimInLua}
local notices, ids = unpack(KEYS)
local id, text, state, kept = unpack(ARGV)
if redis.call('HEXISTS', notices, id) == 0 then return 0 end
redis.call('HSET', notices, id, text)
if state ~= 'waiting' then trim(notices, ids, kept) end
return 1
`;
