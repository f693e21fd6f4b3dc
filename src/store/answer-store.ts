import { createHash, createHmac, randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { keys } from './keys.ts';
import type { Sealer } from './sealing.ts';

/** A request that is not to be carried out twice: who asks, the key they gave it, and all that makes it what it is. */
export type KeyedRequest = { tokenId: string; key: string; content: string };

export type StoredAnswer = { status: number; headers: Record<string, string>; body: string };

export type Begun =
  /** Nobody has asked for it yet: carry it out, then `finish` or `forget`. */
  { attempt: string } | StoredAnswer | 'running' | 'other';

const keptSeconds = 24 * 3600;
/** Longer than any request takes. After a crash in the middle it may then be asked for again. */
const runningSeconds = 120;

/** The answers to requests with an `Idempotency-Key`. Sealed, because some have a secret in them. */
export class AnswerStore {
  readonly #redis: Redis;
  readonly #sealer: Sealer;

  constructor(redis: Redis, sealer: Sealer) {
    this.#redis = redis;
    this.#sealer = sealer;
  }

  async begin(request: KeyedRequest): Promise<Begun> {
    const attempt = randomUUID();
    const key = keyOf(request);
    // Keyed, so that nobody who reads Redis can try what the content might have been.
    const content = createHmac('sha256', request.key).update(request.content).digest('hex');
    const found = (await this.#redis.eval(beginScript, 1, key, content, attempt, runningSeconds)) as string;
    if (found === 'new') return { attempt };
    if (found === 'running' || found === 'other') return found;
    return JSON.parse(this.#sealer.open(found, key)) as StoredAnswer;
  }

  async finish(request: KeyedRequest, attempt: string, answer: StoredAnswer): Promise<void> {
    const key = keyOf(request);
    const sealed = this.#sealer.seal(JSON.stringify(answer), key);
    await this.#redis.eval(finishScript, 1, key, attempt, sealed, keptSeconds);
  }

  /** It failed in a way that may be gone the next time. */
  async forget(request: KeyedRequest, attempt: string): Promise<void> {
    await this.#redis.eval(forgetScript, 1, keyOf(request), attempt);
  }
}

function keyOf({ tokenId, key }: KeyedRequest): string {
  return keys.answer(createHash('sha256').update(`${tokenId}\0${key}`).digest('hex'));
}

const beginScript = `
local content, attempt, seconds = unpack(ARGV)
local found = redis.call('HMGET', KEYS[1], 'content', 'attempt', 'answer')
if not found[1] then
  redis.call('HSET', KEYS[1], 'content', content, 'attempt', attempt)
  redis.call('EXPIRE', KEYS[1], seconds)
  return 'new'
end
if found[1] ~= content then return 'other' end
if found[3] then return found[3] end
return found[2] == attempt and 'new' or 'running'
`;

const finishScript = `
local attempt, answer, seconds = unpack(ARGV)
if redis.call('HGET', KEYS[1], 'attempt') ~= attempt then return 0 end
redis.call('HSET', KEYS[1], 'answer', answer)
redis.call('EXPIRE', KEYS[1], seconds)
return 1
`;

const forgetScript = `
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`;
