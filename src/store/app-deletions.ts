import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import { type Domain, hostOf } from '../domain/domain.ts';
import type { ServiceName } from '../domain/service.ts';
import { UserError } from '../errors.ts';
import { keys, type StoreEvent } from './keys.ts';
import { isPolicyOf } from './network-policy-store.ts';

export type Deletion = { by: string; deleteData: boolean };

/**
 * Apps on their way out. The wish is written first and keeps anything new from being asked for; a worker then empties the
 * engine, and a server, once that is done, the folders and this store. The name is free when nothing is left of the app.
 */
export class AppDeletions {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** The first wish counts, but for the data: whoever wants them gone as well can say so later. */
  async ask(app: AppName, { by, deleteData }: Deletion): Promise<void> {
    const wish: Deletion = { by, deleteData: deleteData || ((await this.get(app))?.deleteData ?? false) };
    await this.#redis.hset(keys.app(app), 'deleting', JSON.stringify(wish));
  }

  async get(app: AppName): Promise<Deletion | undefined> {
    const text = await this.#redis.hget(keys.app(app), 'deleting');
    return text ? (JSON.parse(text) as Deletion) : undefined;
  }

  /** Nothing of it is on the engine any more. Not for a worker whose fence is stale. */
  async markEmptied(app: AppName, fence: number): Promise<void> {
    const event: StoreEvent = { kind: 'emptied', app };
    await this.#redis.eval(emptiedScript, 1, keys.app(app), fence, keys.channel, JSON.stringify(event));
  }

  /** Apps of which only folders and records are left. */
  async emptied(): Promise<{ app: AppName; deleteData: boolean }[]> {
    const apps = (await this.#redis.smembers(keys.apps)) as AppName[];
    const found = await Promise.all(
      apps.map(async (app) => {
        const [wish, isEmptied] = await this.#redis.hmget(keys.app(app), 'deleting', 'emptied');
        return wish && isEmptied ? [{ app, deleteData: (JSON.parse(wish) as Deletion).deleteData }] : [];
      }),
    );
    return found.flat();
  }

  /**
   * Everything that is about this app alone, also paths of its `hosts` that others have; its name last, so that whatever
   * stops this can be done again.
   */
  async forget(app: AppName, hosts: readonly string[]): Promise<void> {
    const fields = await this.#redis.hgetall(keys.app(app));
    const upTo = (count: string | undefined, name: (number: number) => string[]): string[] =>
      Array.from({ length: Number(count ?? 0) }, (_, index) => name(index + 1)).flat();
    const doomed = [
      ...upTo(fields.seq, (number) => [
        keys.deployment(app, number),
        keys.log(app, number),
        keys.release(app, number),
      ]),
      ...upTo(fields.taskSeq, (number) => [keys.task(app, number), keys.taskLog(app, number)]),
      keys.releases(app),
      keys.tasks(app),
      keys.env(app),
      keys.imageLogins(app),
      keys.route(app),
      keys.health(app),
      keys.webhook(app),
      keys.deliveries(app),
      keys.deliveryIds(app),
    ];
    while (doomed.length > 0) await this.#redis.del(...doomed.splice(0, 500));
    const domains = Object.entries(await this.#redis.hgetall(keys.domains));
    const services = (await this.#redis.smembers(keys.services)) as ServiceName[];
    const policies = await this.#redis.smembers(keys.networkPolicies);
    const routers = await this.#redis.smembers(keys.routers);
    const subnets = Object.keys(fields).flatMap((name) =>
      /^subnet( |$)/.test(name) ? [fields[name] ?? ''] : [],
    );
    const last = this.#redis.multi();
    for (const [domain, owner] of domains)
      if (owner === app || hosts.includes(hostOf(domain as Domain))) last.hdel(keys.domains, domain);
    for (const service of services) last.hdel(keys.serviceBindings(service), app);
    for (const policy of policies) if (isPolicyOf(policy, app)) last.srem(keys.networkPolicies, policy);
    for (const router of routers) last.hdel(keys.router(router), app);
    if (subnets.length > 0) last.srem(keys.subnets, ...subnets);
    last.hdel(keys.tcpPorts, app).del(keys.app(app)).srem(keys.apps, app);
    const event: StoreEvent = { kind: 'route', app, version: 0 };
    await last.publish(keys.channel, JSON.stringify(event)).exec();
  }
}

/** Lua for what asks for something new of an app. */
export const refuseDeletedInLua = `
if redis.call('HEXISTS', KEYS[1], 'deleting') == 1 then return redis.error_reply('DELETING') end
`;

/** What that refusal says to people. */
export function explainDeleted(app: AppName): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof Error && /\bDELETING\b/.test(error.message))) throw error;
    throw new UserError('CONFLICT', `the app ${app} is being deleted`, 'its name is free in a moment');
  };
}

const emptiedScript = `
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'emptied', '1')
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
`;
