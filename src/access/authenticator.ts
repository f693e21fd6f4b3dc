import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import type { Account } from '../domain/account.ts';
import { isExpired } from '../domain/token.ts';
import type { TokenStore } from '../store/token-store.ts';
import { FailedLogins } from './failed-logins.ts';

/** Why somebody is not let in. `retryAfter` in seconds. */
export type Refusal = { refused: string; hint: string; status: 401 | 429; retryAfter?: number };

export type Authenticate = (secret: string | undefined, address: string) => Promise<Account | Refusal>;

const rememberedTokens = 1000;

/** Who asks, for git and the API alike. Wrong tokens are slowed down per address and per token. */
export function createAuthenticator(
  tokens: TokenStore,
  /**
   * Throws when Redis is not the store any more, which is no reason to call a token wrong; one that is right is of no use
   * then.
   */
  assertOwnStore: () => Promise<void>,
): Authenticate {
  const failures = new FailedLogins();
  /** Hashes of tokens that were right. Somebody who guesses behind the same proxy must not lock out who is known. */
  const good = new Set<string>();

  return async (secret, address) => {
    if (!secret) return { status: 401, ...missing };
    const hash = createHash('sha256').update(secret).digest('base64');
    const sources = good.has(hash) ? [] : [`address ${networkOf(address)}`, `token ${hash}`];
    const waitMs = failures.admit(sources);
    if (waitMs > 0) return tooMany(address, waitMs);
    let account: Account | Refusal | undefined;
    try {
      const answer = await check(tokens, secret);
      await assertOwnStore();
      account = answer;
    } finally {
      // A store that does not answer says nothing about the token.
      failures.settle(sources, account !== undefined && 'refused' in account);
    }
    if ('refused' in account) {
      good.delete(hash);
      return account;
    }
    good.delete(hash);
    good.add(hash);
    for (const oldest of good) {
      if (good.size <= rememberedTokens) break;
      good.delete(oldest);
    }
    return account;
  };
}

const missing = {
  refused: 'a token is needed',
  hint: 'gantry login, or set GANTRY_TOKEN; for git, the token is the password',
};

async function check(tokens: TokenStore, secret: string): Promise<Account | Refusal> {
  const token = await tokens.find(secret);
  if (!token)
    return {
      status: 401,
      refused: 'the token is wrong or was revoked',
      hint: 'use a token of this server: gantry login, or as the password of git',
    };
  const { tokenId, name, scopes } = token;
  if (isExpired(token, new Date()))
    return {
      status: 401,
      refused: `token "${name}" expired on ${token.expiresAt?.toISOString().slice(0, 10)}`,
      hint: 'an administrator makes a new one: gantry tokens create',
    };
  // Knowing when is not worth failing for.
  await tokens.noteUse(tokenId).catch(() => {});
  return { tokenId, name, scopes };
}

function tooMany(address: string, waitMs: number): Refusal {
  const retryAfter = Math.ceil(waitMs / 1000);
  return {
    status: 429,
    retryAfter,
    refused: `too many wrong tokens from ${address || 'this address'}`,
    hint: `try again in ${retryAfter} s`,
  };
}

/** An IPv6 customer has a whole /64, so its addresses count as one. */
function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped || !isIPv6(address)) return mapped ?? address;
  const [head = '', tail] = address.replace(/%.*$/, '').split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail ? tail.split(':') : [];
  const missingGroups = tail === undefined ? 0 : Math.max(0, 8 - front.length - back.length);
  return [...front, ...Array<string>(missingGroups).fill('0'), ...back].slice(0, 4).join(':');
}
