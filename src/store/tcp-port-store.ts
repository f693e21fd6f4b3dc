import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import { keys, type StoreEvent } from './keys.ts';

export type PortRange = { from: number; to: number };

/** The public ports of apps with a TCP service. An app keeps its port until the service is disabled. */
export class TcpPortStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Gives the app a port that is not in `taken`; `undefined`: the range has no other one. Routers do not know it yet. */
  async allot(app: AppName, { from, to }: PortRange, taken: readonly number[]): Promise<number | undefined> {
    const port = (await this.#redis.eval(
      allotScript,
      1,
      keys.tcpPorts,
      app,
      from,
      to,
      JSON.stringify(taken),
    )) as number | null;
    return port ?? undefined;
  }

  async disable(app: AppName): Promise<void> {
    await this.#redis.hdel(keys.tcpPorts, app);
    await this.announce(app);
  }

  async get(app: AppName): Promise<number | undefined> {
    const port = await this.#redis.hget(keys.tcpPorts, app);
    return port === null ? undefined : Number(port);
  }

  /** Routers look at once. */
  async announce(app: AppName): Promise<void> {
    const event: StoreEvent = { kind: 'route', app, version: 0 };
    await this.#redis.publish(keys.channel, JSON.stringify(event));
  }
}

const allotScript = `
local ports, app, from, to = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local mine = redis.call('HGET', ports, app)
local used = {}
for _, port in ipairs(cjson.decode(ARGV[4])) do used[tostring(port)] = true end
if mine and not used[mine] then return tonumber(mine) end
for _, port in ipairs(redis.call('HVALS', ports)) do used[port] = true end
for port = from, to do
  if not used[tostring(port)] then
    redis.call('HSET', ports, app, port)
    return port
  end
end
if mine then redis.call('HDEL', ports, app) end
return nil
`;
