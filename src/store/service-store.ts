import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import type { ManagedService, ServiceCopy, ServiceState } from '../domain/managed-service.ts';
import type { Binding, BoundService, Credentials, Service, ServiceName } from '../domain/service.ts';
import { explainDeleted, refuseDeletedInLua } from './app-deletions.ts';
import { keys, type StoreEvent } from './keys.ts';
import type { Sealer } from './sealing.ts';
import { subnetIndex } from './subnet-index.ts';

export type NewService = Pick<Service, 'name' | 'label' | 'tags' | 'isShared' | 'by' | 'managed'> & {
  credentials: Credentials;
  /** Of the container of a managed one. */
  env: Readonly<Record<string, string>>;
};

/** To be sure that it is about the same service still. */
type Ref = Pick<Service, 'name' | 'id'>;

export type ServiceChange = {
  credentials?: Credentials;
  tags?: readonly string[];
  isShared?: boolean;
  managed?: ManagedService;
};

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
      managed: fields.managed ? (JSON.parse(fields.managed) as ManagedService) : undefined,
      status: fields.deleting
        ? { state: 'deleting' }
        : fields.status
          ? (JSON.parse(fields.status) as ServiceState)
          : { state: fields.managed ? 'starting' : 'ready' },
      copy: fields.copy ? (JSON.parse(fields.copy) as ServiceCopy) : undefined,
      tags: JSON.parse(fields.tags ?? '[]') as string[],
      isShared: fields.shared === '1',
      by: fields.by ?? '',
      createdAt: new Date(fields.createdAt ?? 0),
    };
  }

  /** False: there is one of that name. */
  async create(service: NewService): Promise<boolean> {
    const { name, label, tags, isShared, by, managed, credentials, env } = service;
    const id = randomUUID();
    const fields = {
      label,
      tags: JSON.stringify(tags),
      shared: isShared ? '1' : '',
      by,
      createdAt: new Date().toISOString(),
      credentials: this.#sealer.seal(JSON.stringify(credentials), context(name, id)),
      ...(managed && {
        managed: JSON.stringify(managed),
        env: this.#sealer.seal(JSON.stringify(env), envContext(name, id)),
      }),
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
    await this.#announce(name);
    return made === 1;
  }

  async env({ name, id }: Ref): Promise<Record<string, string>> {
    const sealed = await this.#redis.hget(keys.service(name), 'env');
    if (!sealed) return {};
    return JSON.parse(this.#sealer.open(sealed, envContext(name, id))) as Record<string, string>;
  }

  async credentials({ name, id }: Ref): Promise<Credentials> {
    const sealed = await this.#redis.hget(keys.service(name), 'credentials');
    if (!sealed) return {};
    return JSON.parse(this.#sealer.open(sealed, context(name, id))) as Credentials;
  }

  /** Apps have it with their next deployment. False: it is gone. */
  async change({ name, id }: Ref, { credentials, tags, isShared, managed }: ServiceChange): Promise<boolean> {
    const fields = {
      ...(credentials && { credentials: this.#sealer.seal(JSON.stringify(credentials), context(name, id)) }),
      ...(tags && { tags: JSON.stringify(tags) }),
      ...(isShared !== undefined && { shared: isShared ? '1' : '' }),
      ...(managed && {
        managed: JSON.stringify(managed),
        status: JSON.stringify({ state: 'starting' } satisfies ServiceState),
      }),
    };
    const flat = Object.entries(fields).flat();
    const changed = await this.#redis.eval(changeScript, 1, keys.service(name), id, ...flat);
    await this.#announce(name);
    return changed === 1;
  }

  async setStatus({ name, id }: Ref, status: ServiceState): Promise<void> {
    await this.#redis.eval(changeScript, 1, keys.service(name), id, 'status', JSON.stringify(status));
    await this.#announce(name);
  }

  async setCopy({ name, id }: Ref, copy: ServiceCopy): Promise<void> {
    await this.#redis.eval(changeScript, 1, keys.service(name), id, 'copy', JSON.stringify(copy));
    await this.#announce(name);
  }

  /** False: another one is under way, or it is not there any more. */
  async beginCopy({ name, id }: Ref, copy: ServiceCopy): Promise<boolean> {
    const began = await this.#redis.eval(copyScript, 1, keys.service(name), id, JSON.stringify(copy));
    await this.#announce(name);
    return began === 1;
  }

  /** For its network. */
  async subnetIndex(name: ServiceName, taken: readonly number[]): Promise<number> {
    return subnetIndex(this.#redis, keys.service(name), taken, 'subnet');
  }

  /** One that apps have stays. A managed one is to be removed from the engine before it is forgotten. */
  async remove({ name, id, managed }: Service): Promise<'bound' | 'removed'> {
    const marked = await this.#redis.eval(
      deletingScript,
      2,
      keys.service(name),
      keys.serviceBindings(name),
      id,
    );
    if (marked !== 1) return 'bound';
    if (managed) await this.#announce(name);
    else await this.forget({ name, id });
    return 'removed';
  }

  /** Its name is free. */
  async forget({ name, id }: Ref): Promise<void> {
    const { service, services, serviceBindings, subnets } = keys;
    await this.#redis.eval(
      forgetScript,
      4,
      service(name),
      services,
      serviceBindings(name),
      subnets,
      name,
      id,
    );
    await this.#announce(name);
  }

  /** Fine when it is bound already. False: there is no such service any more. */
  async bind({ name, id }: Ref, app: AppName, by: string): Promise<boolean> {
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
    const isBound = (await bound.catch(explainDeleted(app))) === 1;
    await this.#announce(name);
    return isBound;
  }

  /** False: it was not bound. */
  async unbind(name: ServiceName, app: AppName): Promise<boolean> {
    return (await this.#redis.hdel(keys.serviceBindings(name), app)) === 1;
  }

  async #announce(service: ServiceName): Promise<void> {
    const event: StoreEvent = { kind: 'service', service };
    await this.#redis.publish(keys.channel, JSON.stringify(event));
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
        isManaged: service.managed !== undefined,
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

function envContext(name: ServiceName, id: string): string {
  return `service env ${name}\0${id}`;
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

const deletingScript = `
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return 1 end
if redis.call('HLEN', KEYS[2]) > 0 then return 0 end
redis.call('HSET', KEYS[1], 'deleting', '1')
return 1
`;

const forgetScript = `
local serviceKey, servicesKey, bindingsKey, subnetsKey, name, id = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2]
local now = redis.call('HMGET', serviceKey, 'id', 'subnet')
if now[1] ~= id then return 0 end
if now[2] then redis.call('SREM', subnetsKey, now[2]) end
redis.call('SREM', servicesKey, name)
redis.call('DEL', serviceKey, bindingsKey)
return 1
`;

const copyScript = `
local now = redis.call('HMGET', KEYS[1], 'id', 'copy', 'deleting')
if now[1] ~= ARGV[1] or now[3] then return 0 end
if now[2] then
  local before, asked = cjson.decode(now[2]), cjson.decode(ARGV[2])
  if before.state == 'under way' then return before.id == asked.id and 1 or 0 end
end
redis.call('HSET', KEYS[1], 'copy', ARGV[2])
return 1
`;

const bindScript = `${refuseDeletedInLua}
local serviceKey, bindingsKey, app, id, binding = KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3]
local now = redis.call('HMGET', serviceKey, 'id', 'deleting')
if now[1] ~= id or now[2] then return 0 end
redis.call('HSETNX', bindingsKey, app, binding)
return 1
`;
