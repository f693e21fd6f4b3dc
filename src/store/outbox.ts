import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import type { StoredEvent } from '../domain/outgoing-webhook.ts';
import { keys } from './keys.ts';

const atOnce = 100;

/**
 * Changes of deployments that have still to be told to the outside. Whoever changes a deployment writes it here in the
 * same script, so that neither is without the other.
 */
export class Outbox {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** The oldest ones, or those after one of them, in their order. They stay until they are removed. */
  async read(after?: string): Promise<StoredEvent[]> {
    const from = after === undefined ? '-' : `(${after}`;
    const entries = await this.#redis.xrange(keys.outbox, from, '+', 'COUNT', atOnce);
    return entries.map(([id, fields]) => {
      const of = (name: string): string => fields[fields.indexOf(name) + 1] ?? '';
      return {
        id,
        app: of('app') as AppName,
        number: Number(of('number')),
        state: of('state') as StoredEvent['state'],
        reason: of('reason') || undefined,
        at: new Date(of('at')),
      };
    });
  }

  /** False: somebody else did. */
  async remove(id: string): Promise<boolean> {
    return (await this.#redis.xdel(keys.outbox, id)) === 1;
  }
}

/** Lua for the scripts that change a deployment. It is written once for each change, however often the script runs. */
export const announceInLua = `
local function announce(app, number, state, now, channel, reason)
  redis.call('XADD', '${keys.outbox}', '*', 'app', app, 'number', number, 'state', state, 'at', now, 'reason', reason or '')
  redis.call('PUBLISH', channel, cjson.encode({kind = 'announced'}))
end
`;
