import { createHash, randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { isAdmin, type Scope } from '../domain/account.ts';
import { isExpired, type Token } from '../domain/token.ts';
import { keys, type StoreEvent } from './keys.ts';

export type NewToken = {
  name: string;
  scopes: readonly Scope[];
  createdBy: string;
  expiresAt?: Date | undefined;
};

/**
 * Tokens are 256 random bits; only their hash is kept, so no salt and no slow hash are needed. Nothing is remembered
 * between two questions: what one process revokes is refused by all of them from then on.
 */
export class TokenStore {
  readonly #redis: Redis;
  /** When this process last wrote that a token was used. */
  readonly #noted = new Map<string, number>();

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** The secret is in the answer and nowhere else. */
  async create({ name, scopes, createdBy, expiresAt }: NewToken): Promise<{ token: Token; secret: string }> {
    const secret = `gantry_${randomBytes(32).toString('base64url')}`;
    const token: Token = {
      tokenId: randomBytes(6).toString('hex'),
      name,
      scopes,
      createdBy,
      createdAt: new Date(),
      expiresAt,
    };
    await this.#redis.hset(keys.tokens, hash(secret), JSON.stringify(token));
    return { token, secret };
  }

  /**
   * Also one that has expired. Looking a hash up leaks nothing useful about other tokens, so no constant-time compare is
   * needed here.
   */
  async find(secret: string): Promise<Token | undefined> {
    const text = await this.#redis.hget(keys.tokens, hash(secret));
    return text ? parseToken(text) : undefined;
  }

  /** In the order they were made. */
  async list(): Promise<(Token & { lastUsedAt: Date | undefined })[]> {
    const [texts, uses] = await Promise.all([
      this.#redis.hvals(keys.tokens),
      this.#redis.hgetall(keys.tokenUses),
    ]);
    return texts
      .map(parseToken)
      .map((token) => ({ ...token, lastUsedAt: dateOf(uses[token.tokenId]) }))
      .sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime() || (a.tokenId < b.tokenId ? -1 : 1));
  }

  /** The only administrator's token that still works stays: without one nobody could make another. */
  async revoke(tokenId: string): Promise<'revoked' | 'unknown' | 'last admin'> {
    return (await this.#redis.eval(
      revokeScript,
      2,
      keys.tokens,
      keys.tokenUses,
      tokenId,
      new Date().toISOString(),
      keys.channel,
      JSON.stringify({ kind: 'revoked' } satisfies StoreEvent),
    )) as 'revoked' | 'unknown' | 'last admin';
  }

  /** Written at most once a minute, whoever asks. */
  async noteUse(tokenId: string): Promise<void> {
    const now = Date.now();
    if (now - (this.#noted.get(tokenId) ?? 0) < 60_000) return;
    this.#noted.set(tokenId, now);
    const [at, before] = [now, now - 60_000].map((time) => new Date(time).toISOString());
    await this.#redis.eval(noteUseScript, 1, keys.tokenUses, tokenId, at ?? '', before ?? '');
  }

  /** Ids of the tokens that work now. */
  async working(): Promise<Set<string>> {
    const tokens = (await this.#redis.hvals(keys.tokens)).map(parseToken);
    const now = new Date();
    return new Set(tokens.filter((token) => !isExpired(token, now)).map(({ tokenId }) => tokenId));
  }

  /** Whether anybody could make a token. */
  async hasAdmin(): Promise<boolean> {
    const tokens = (await this.#redis.hvals(keys.tokens)).map(parseToken);
    return tokens.some((token) => isAdmin(token) && !isExpired(token, new Date()));
  }
}

function hash(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

function dateOf(text: string | undefined): Date | undefined {
  return text ? new Date(text) : undefined;
}

type StoredToken = Omit<Token, 'createdAt' | 'expiresAt'> & { createdAt?: string; expiresAt?: string };

function parseToken(text: string): Token {
  const stored = JSON.parse(text) as StoredToken;
  return {
    ...stored,
    createdBy: stored.createdBy ?? '',
    createdAt: dateOf(stored.createdAt) ?? new Date(0),
    expiresAt: dateOf(stored.expiresAt),
  };
}

/** Points in time are ISO 8601 in UTC, which sort as texts. */
const revokeScript = `
local id, now = ARGV[1], ARGV[2]
local found, isAdmin, admins = nil, false, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local token = cjson.decode(all[i + 1])
  local admin = false
  for _, scope in ipairs(token.scopes) do admin = admin or scope == 'admin' end
  admin = admin and (not token.expiresAt or token.expiresAt > now)
  if token.tokenId == id then found, isAdmin = all[i], admin
  elseif admin then admins = admins + 1 end
end
if not found then return 'unknown' end
if isAdmin and admins == 0 then return 'last admin' end
redis.call('HDEL', KEYS[1], found)
redis.call('HDEL', KEYS[2], id)
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 'revoked'
`;

/** A token that is used while it is revoked leaves a line behind; nobody reads it. */
const noteUseScript = `
local id, now, before = unpack(ARGV)
local last = redis.call('HGET', KEYS[1], id)
if not last or last <= before then redis.call('HSET', KEYS[1], id, now) end
return 1
`;
