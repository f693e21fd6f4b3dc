import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { type AppName, type CommitSha, parseCommitSha } from '../domain/app.ts';
import type {
  Delivery,
  ImageEvent,
  PollState,
  PushEvent,
  WebhookLink,
  WebhookProvider,
} from '../domain/webhook.ts';
import { keys } from './keys.ts';
import type { Sealer } from './sealing.ts';

const deliveriesKept = 50;
const rememberSeconds = 7 * 86_400;
/** How long the secret before the last one is good as well, so that a forge can be told the new one in peace. */
const oldSecretSeconds = 86_400;

/** Where apps get their commits from, the secrets of those who say so, and what they said. */
export class WebhookStore {
  readonly #redis: Redis;
  readonly #sealer: Sealer;

  constructor(redis: Redis, sealer: Sealer) {
    this.#redis = redis;
    this.#sealer = sealer;
  }

  /** Replaces what the app was linked to. Returns the secret, which is shown this once. */
  async link(
    app: AppName,
    link: Omit<WebhookLink, 'createdAt'>,
    sshKey: string | undefined,
  ): Promise<string> {
    const secret = newSecret();
    const fields = {
      provider: link.provider,
      branch: link.branch,
      ...(link.tag !== undefined && { tag: link.tag }),
      createdAt: new Date().toISOString(),
      ...(link.pollSeconds !== undefined && { pollSeconds: link.pollSeconds }),
      repository: this.#seal(app, 'repository', link.repository),
      secret: this.#seal(app, 'secret', secret),
      ...(sshKey !== undefined && { sshKey: this.#seal(app, 'sshKey', sshKey) }),
    };
    await this.#redis.multi().del(keys.webhook(app)).hset(keys.webhook(app), fields).exec();
    return secret;
  }

  /** False: there was none. What it made stays. */
  async unlink(app: AppName): Promise<boolean> {
    return (await this.#redis.del(keys.webhook(app))) === 1;
  }

  async get(app: AppName): Promise<WebhookLink | undefined> {
    const fields = await this.#redis.hgetall(keys.webhook(app));
    if (!fields.provider) return undefined;
    return {
      provider: fields.provider as WebhookProvider,
      repository: this.#open(app, 'repository', fields.repository) ?? '',
      branch: fields.branch ?? '',
      tag: fields.tag || undefined,
      pollSeconds: fields.pollSeconds ? Number(fields.pollSeconds) : undefined,
      createdAt: new Date(fields.createdAt ?? 0),
    };
  }

  /** `undefined` ends it. False: the app is not linked. */
  async setPoll(app: AppName, seconds: number | undefined): Promise<boolean> {
    const none = { pollAt: '', pollProblem: '', pollSince: '' };
    return this.#change(app, { pollSeconds: String(seconds ?? ''), ...(seconds === undefined && none) });
  }

  async pollState(app: AppName): Promise<PollState | undefined> {
    const [at, problem, since] = await this.#redis.hmget(
      keys.webhook(app),
      'pollAt',
      'pollProblem',
      'pollSince',
    );
    if (!at) return undefined;
    return {
      at: new Date(at),
      problem: problem || undefined,
      since: since ? new Date(since) : undefined,
    };
  }

  /** How a look went. Returns how the one before went. */
  async notePoll(app: AppName, problem: string | undefined): Promise<PollState | undefined> {
    const before = await this.pollState(app);
    const now = new Date().toISOString();
    const since = before?.problem === undefined ? now : (before.since?.toISOString() ?? now);
    await this.#change(app, {
      pollAt: now,
      pollProblem: problem ?? '',
      pollSince: problem === undefined ? '' : since,
    });
    return before;
  }

  /** The last commit of the branch that something was decided about. */
  async seenTip(app: AppName): Promise<CommitSha | undefined> {
    const tip = await this.#redis.hget(keys.webhook(app), 'tip');
    return parseCommitSha(tip ?? '');
  }

  async noteTip(app: AppName, commit: CommitSha): Promise<void> {
    await this.#change(app, { tip: commit });
  }

  /** When the newest image was pushed that something was decided about. */
  async seenImageAt(app: AppName): Promise<string | undefined> {
    return (await this.#redis.hget(keys.webhook(app), 'imageAt')) || undefined;
  }

  async noteImageAt(app: AppName, at: string): Promise<void> {
    await this.#change(app, { imageAt: at });
  }

  async sshKey(app: AppName): Promise<string | undefined> {
    return this.#open(app, 'sshKey', (await this.#redis.hget(keys.webhook(app), 'sshKey')) ?? undefined);
  }

  /** The one of now, and for a day the one before. */
  async secrets(app: AppName): Promise<string[]> {
    const [now, before, until] = await this.#redis.hmget(
      keys.webhook(app),
      'secret',
      'oldSecret',
      'oldSecretUntil',
    );
    const isGood = until && new Date(until) > new Date();
    const secrets = [
      this.#open(app, 'secret', now ?? undefined),
      isGood ? this.#open(app, 'secret', before ?? undefined) : undefined,
    ];
    return secrets.filter((secret) => secret !== undefined);
  }

  /** Returns the new secret. `undefined`: the app is not linked. */
  async rotateSecret(app: AppName): Promise<string | undefined> {
    const before = await this.#redis.hget(keys.webhook(app), 'secret');
    if (!before) return undefined;
    const secret = newSecret();
    await this.#redis.hset(keys.webhook(app), {
      secret: this.#seal(app, 'secret', secret),
      oldSecret: before,
      oldSecretUntil: new Date(Date.now() + oldSecretSeconds * 1000).toISOString(),
    });
    return secret;
  }

  /** Notes a delivery unless one of this id was noted in the last seven days; then returns that one, if it is still kept. */
  async begin(
    delivery: Delivery,
  ): Promise<{ isNew: true } | { isNew: false; earlier: Delivery | undefined }> {
    const { app, id } = delivery;
    const [isNew, text] = (await this.#redis.eval(
      beginScript,
      3,
      keys.deliveries(app),
      keys.deliveryIds(app),
      keys.deliverySeen(app, id),
      id,
      JSON.stringify(delivery),
      rememberSeconds,
      deliveriesKept,
    )) as [number, string | null];
    return isNew === 1 ? { isNew: true } : { isNew: false, earlier: text ? parseDelivery(text) : undefined };
  }

  /** What became of it. One that failed may be sent again. */
  async conclude(
    delivery: Delivery,
    change: Pick<Delivery, 'state'> & { reason?: string; number?: number },
  ): Promise<Delivery> {
    const { app, id } = delivery;
    const concluded: Delivery = { ...delivery, reason: undefined, ...change };
    await this.#redis.hset(keys.deliveries(app), id, JSON.stringify(concluded));
    if (change.state === 'failed') await this.#redis.del(keys.deliverySeen(app, id));
    return concluded;
  }

  /** Only the last one is kept: anybody can send something that is wrong. */
  async noteRefused(delivery: Delivery): Promise<void> {
    const id = 'refused';
    await this.#redis
      .multi()
      .lrem(keys.deliveryIds(delivery.app), 0, id)
      .lpush(keys.deliveryIds(delivery.app), id)
      .hset(keys.deliveries(delivery.app), id, JSON.stringify({ ...delivery, id }))
      .exec();
  }

  async find(app: AppName, id: string): Promise<Delivery | undefined> {
    const text = await this.#redis.hget(keys.deliveries(app), id);
    return text ? parseDelivery(text) : undefined;
  }

  /** The last fifty, the newest first. */
  async deliveries(app: AppName): Promise<Delivery[]> {
    const ids = await this.#redis.lrange(keys.deliveryIds(app), 0, deliveriesKept - 1);
    if (ids.length === 0) return [];
    const texts = await this.#redis.hmget(keys.deliveries(app), ...ids);
    return texts.flatMap((text) => (text ? [parseDelivery(text)] : []));
  }

  async #change(app: AppName, fields: Record<string, string>): Promise<boolean> {
    const key = keys.webhook(app);
    return (await this.#redis.eval(changeScript, 1, key, ...Object.entries(fields).flat())) === 1;
  }

  #seal(app: AppName, name: string, value: string): string {
    return this.#sealer.seal(value, context(app, name));
  }

  #open(app: AppName, name: string, sealed: string | undefined): string | undefined {
    return sealed ? this.#sealer.open(sealed, context(app, name)) : undefined;
  }
}

function newSecret(): string {
  return `whsec_${randomBytes(32).toString('base64')}`;
}

function context(app: AppName, name: string): string {
  return `${app}\0webhook ${name}`;
}

function parseDelivery(text: string): Delivery {
  const { receivedAt, reason, number, push, image, ...rest } = JSON.parse(text) as Omit<
    Delivery,
    'receivedAt'
  > & {
    receivedAt: string;
  };
  return {
    ...rest,
    receivedAt: new Date(receivedAt),
    reason,
    number,
    push: push && ({ ...push, before: push.before } satisfies PushEvent),
    image: image && ({ ...image, digest: image.digest, at: image.at } satisfies ImageEvent),
  };
}

/** The app may have been unlinked meanwhile. */
const changeScript = `
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
`;

const beginScript = `
local deliveries, ids, seen = unpack(KEYS)
local id, text, seconds, kept = unpack(ARGV)
if not redis.call('SET', seen, 1, 'NX', 'EX', seconds) then
  return {0, redis.call('HGET', deliveries, id)}
end
redis.call('LREM', ids, 0, id)
redis.call('LPUSH', ids, id)
for _, old in ipairs(redis.call('LRANGE', ids, kept, -1)) do redis.call('HDEL', deliveries, old) end
redis.call('LTRIM', ids, 0, kept - 1)
redis.call('HSET', deliveries, id, text)
return {1, false}
`;
