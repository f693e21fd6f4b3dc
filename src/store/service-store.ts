import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import type { Binding, BoundService, Credentials, Service, ServiceName } from '../domain/service.ts';
import { explainDeleted, refuseDeletedInLua } from './app-deletions.ts';
import { keys } from './keys.ts';
import type { Sealer } from './sealing.ts';

export type NewService = Pick<Service, 'name' | 'label' | 'tags' | 'isShared' | 'by'> & {
  credentials: Credentials;
};

export type ServiceChange = { credentials?: Credentials; tags?: readonly string[]; isShared?: boolean };

/** Services and which apps they are bound to. Credentials are sealed before they reach Redis. */
export class ServiceStore {
  readonly #redis: Redis;
  readonly #sealer: Sealer;

  constructor(redis: Redis, sealer: Sealer) {
    this.#redis = redis;
    this.#sealer = sealer;
  }

  async list(): Promise<Service[]> {
    const names = ((await this.#redis.smembers(keys.services)) as ServiceName[]).sort();
    const services = await Promise.all(names.map((name) => this.get(name)));
    return services.filter((service) => service !== undefined);
  }

  async get(name: ServiceName): Promise<Service | undefined> {
    const fields = await this.#redis.hgetall(keys.service(name));
    if (!fields.id) return undefined;
    return {
      name,
      id: fields.id,
      label: fields.label ?? '',
      tags: JSON.parse(fields.tags ?? '[]') as string[],
      isShared: fields.shared === '1',
      by: fields.by ?? '',
      createdAt: new Date(fields.createdAt ?? 0),
    };
  }

  /** False: there is one of that name. */
  async create({ name, label, tags, isShared, by, credentials }: NewService): Promise<boolean> {
    const id = randomUUID();
    const fields = {
      label,
      tags: JSON.stringify(tags),
      shared: isShared ? '1' : '',
      by,
      createdAt: new Date().toISOString(),
      credentials: this.#sealer.seal(JSON.stringify(credentials), context(name, id)),
    };
    const made = await this.#redis.eval(
      createScript,
      2,
      keys.service(name),
      keys.services,
      name,
      id,
      ...Object.entries(fields).flat(),
    );
    return made === 1;
  }

  async credentials({ name, id }: Pick<Service, 'name' | 'id'>): Promise<Credentials> {
    const sealed = await this.#redis.hget(keys.service(name), 'credentials');
    if (!sealed) return {};
    return JSON.parse(this.#sealer.open(sealed, context(name, id))) as Credentials;
  }

  /** Apps have it with their next deployment. False: it is gone. */
  async change(
    { name, id }: Pick<Service, 'name' | 'id'>,
    { credentials, tags, isShared }: ServiceChange,
  ): Promise<boolean> {
    const fields = {
      ...(credentials && { credentials: this.#sealer.seal(JSON.stringify(credentials), context(name, id)) }),
      ...(tags && { tags: JSON.stringify(tags) }),
      ...(isShared !== undefined && { shared: isShared ? '1' : '' }),
    };
    const flat = Object.entries(fields).flat();
    return (await this.#redis.eval(changeScript, 1, keys.service(name), id, ...flat)) === 1;
  }

  /** The apps that have it, if there are any: then it stays. */
  async remove({ name, id }: Pick<Service, 'name' | 'id'>): Promise<'bound' | 'removed'> {
    const removed = await this.#redis.eval(
      removeScript,
      3,
      keys.service(name),
      keys.serviceBindings(name),
      keys.services,
      name,
      id,
    );
    return removed === 1 ? 'removed' : 'bound';
  }

  /** Fine when it is bound already. False: there is no such service any more. */
  async bind({ name, id }: Pick<Service, 'name' | 'id'>, app: AppName, by: string): Promise<boolean> {
    const binding = { id: randomUUID(), by, at: new Date().toISOString() };
    const bound = this.#redis.eval(
      bindScript,
      3,
      keys.app(app),
      keys.service(name),
      keys.serviceBindings(name),
      app,
      id,
      JSON.stringify(binding),
    );
    return (await bound.catch(explainDeleted(app))) === 1;
  }

  /** False: it was not bound. */
  async unbind(name: ServiceName, app: AppName): Promise<boolean> {
    return (await this.#redis.hdel(keys.serviceBindings(name), app)) === 1;
  }

  /** The oldest first. */
  async bindings(name: ServiceName): Promise<Binding[]> {
    const all = Object.entries(await this.#redis.hgetall(keys.serviceBindings(name)));
    return all
      .map(([app, text]) => {
        const { id, by, at } = JSON.parse(text) as { id: string; by: string; at: string };
        return { id, app, by, at: new Date(at) };
      })
      .sort((a, b) => a.at.getTime() - b.at.getTime() || a.app.localeCompare(b.app));
  }

  /** In the order they were bound. */
  async ofApp(app: AppName): Promise<{ service: Service; binding: Binding }[]> {
    const found = await Promise.all(
      (await this.list()).map(async (service) => {
        const binding = (await this.bindings(service.name)).find((one) => one.app === app);
        return binding ? [{ service, binding }] : [];
      }),
    );
    return found.flat().sort((a, b) => a.binding.at.getTime() - b.binding.at.getTime());
  }

  /** The same, with what the app needs to use them. */
  async boundTo(app: AppName): Promise<BoundService[]> {
    const bound = await this.ofApp(app);
    return Promise.all(
      bound.map(async ({ service, binding }) => ({
        name: service.name,
        id: service.id,
        label: service.label,
        tags: service.tags,
        bindingId: binding.id,
        credentials: await this.credentials(service),
      })),
    );
  }

  /** For the deployment that hands them to containers: they must be known as long as those print. */
  sealSecrets(app: AppName, secrets: Readonly<Record<string, string>>): string {
    return this.#sealer.seal(JSON.stringify(secrets), secretsContext(app));
  }

  openSecrets(app: AppName, sealed: string | undefined): Record<string, string> {
    if (!sealed) return {};
    return JSON.parse(this.#sealer.open(sealed, secretsContext(app))) as Record<string, string>;
  }
}

/** With its id, so that what was sealed for an earlier service of the name does not open. */
function context(name: ServiceName, id: string): string {
  return `service ${name}\0${id}`;
}

function secretsContext(app: AppName): string {
  return `${app}\0secrets of services`;
}

const createScript = `
local serviceKey, servicesKey, name, id = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local now = redis.call('HGET', serviceKey, 'id')
if now then return now == id and 1 or 0 end
redis.call('HSET', serviceKey, 'id', id, unpack(ARGV, 3))
redis.call('SADD', servicesKey, name)
return 1
`;

const changeScript = `
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return 0 end
if #ARGV > 1 then redis.call('HSET', KEYS[1], unpack(ARGV, 2)) end
return 1
`;

const removeScript = `
local serviceKey, bindingsKey, servicesKey, name, id = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
if redis.call('HGET', serviceKey, 'id') ~= id then return 1 end
if redis.call('HLEN', bindingsKey) > 0 then return 0 end
redis.call('SREM', servicesKey, name)
redis.call('DEL', serviceKey)
return 1
`;

const bindScript = `${refuseDeletedInLua}
local serviceKey, bindingsKey, app, id, binding = KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', serviceKey, 'id') ~= id then return 0 end
redis.call('HSETNX', bindingsKey, app, binding)
return 1
`;
