import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { AuditEntry } from '../domain/audit.ts';
import { keys } from './keys.ts';

export type StoredAuditEntry = AuditEntry & { id: string; at: Date };

/** Of a busy year; about 5 MB. Redis removes whole blocks, so a few more may be left. */
const kept = 20_000;
const batch = 500;

/** Who did what, oldest forgotten first. Nothing else changes or removes an entry. */
export class AuditLog {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async record(entry: AuditEntry): Promise<void> {
    await this.#redis.eval(
      recordScript,
      2,
      keys.audit,
      keys.request(randomUUID()),
      kept,
      ...Object.entries(entry).flat(),
    );
  }

  /** The newest first; `after` is the id of the last entry of the page before. */
  async list({
    app,
    limit,
    after,
  }: {
    app?: string | undefined;
    limit: number;
    after?: string | undefined;
  }): Promise<StoredAuditEntry[]> {
    const found: StoredAuditEntry[] = [];
    let end = after === undefined ? '+' : `(${after}`;
    for (;;) {
      const entries = await this.#redis.xrevrange(keys.audit, end, '-', 'COUNT', batch);
      for (const [id, fields] of entries) {
        const entry = parse(id, fields);
        if (app === undefined || entry.app === app) found.push(entry);
        if (found.length === limit) return found;
      }
      const last = entries.at(-1)?.[0];
      if (last === undefined || entries.length < batch) return found;
      end = `(${last}`;
    }
  }
}

function parse(id: string, fields: readonly string[]): StoredAuditEntry {
  const values = new Map<string, string>();
  for (let i = 0; i < fields.length; i += 2) values.set(fields[i] ?? '', fields[i + 1] ?? '');
  const of = (name: keyof AuditEntry): string => values.get(name) ?? '';
  return {
    id,
    at: new Date(Number(id.split('-')[0])),
    by: of('by'),
    tokenId: of('tokenId'),
    address: of('address'),
    app: of('app'),
    action: of('action'),
    what: of('what'),
    result: of('result'),
  };
}

const recordScript = `
if not redis.call('SET', KEYS[2], 1, 'NX', 'EX', 600) then return 0 end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 2))
return 1
`;
