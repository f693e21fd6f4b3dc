import type { Account } from './account.ts';

/** What is known about a token. The secret itself is with its owner and nowhere else. */
export type Token = Account & {
  /** The name of the token that made it. */
  createdBy: string;
  createdAt: Date;
  expiresAt: Date | undefined;
};

export function isExpired({ expiresAt }: Pick<Token, 'expiresAt'>, now: Date): boolean {
  return expiresAt !== undefined && expiresAt.getTime() <= now.getTime();
}

export function problemWithTokenName(name: string): string | undefined {
  if (name.trim() !== name || name === '' || name.length > 60) return 'a name has 1 to 60 characters';
  return /[\p{C}\p{Zl}\p{Zp}]/u.test(name) ? 'a name has no control characters' : undefined;
}

const unitMs = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;

/** `90d`, `12h`, `30m`, `2w`, or the day (or moment, in ISO 8601) after which it is over. */
export function parseExpiry(text: string, now: Date): Date | undefined {
  const [, count, unit] = /^([1-9]\d{0,4})([mhdw])$/.exec(text) ?? [];
  if (count && unit) return new Date(now.getTime() + Number(count) * unitMs[unit as keyof typeof unitMs]);
  const isDay = /^\d{4}-\d{2}-\d{2}$/.test(text);
  if (!isDay && !/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?Z$/.test(text)) return undefined;
  const at = new Date(isDay ? `${text}T23:59:59.999Z` : text);
  // 31 February would silently become a day in March.
  const isReal = !Number.isNaN(at.getTime()) && at.toISOString().startsWith(text.slice(0, 10));
  return isReal && at > now ? at : undefined;
}
