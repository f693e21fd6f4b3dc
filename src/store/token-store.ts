import { createHash, randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Account, Scope } from '../domain/account.ts';
import { keys } from './keys.ts';

/** Tokens are 256 random bits; only their hash is kept, so no salt and no slow hash are needed. */
export class TokenStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** The token itself is in the answer and nowhere else. */
  async create(name: string, scopes: readonly Scope[]): Promise<string> {
    const token = `gantry_${randomBytes(32).toString('base64url')}`;
    const account: Account = { tokenId: randomBytes(6).toString('hex'), name, scopes };
    await this.#redis.hset(keys.tokens, hash(token), JSON.stringify(account));
    return token;
  }

  /** Looking a hash up leaks nothing useful about other tokens, so no constant-time compare is needed here. */
  async find(token: string): Promise<Account | undefined> {
    const text = await this.#redis.hget(keys.tokens, hash(token));
    return text ? (JSON.parse(text) as Account) : undefined;
  }

  async isEmpty(): Promise<boolean> {
    return (await this.#redis.hlen(keys.tokens)) === 0;
  }
}

function hash(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
