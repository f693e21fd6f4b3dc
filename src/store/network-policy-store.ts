import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import type { NetworkPolicy, Protocol } from '../domain/network-policy.ts';
import { keys, type StoreEvent } from './keys.ts';

/** Which apps may reach which at their internal host names. In force at once. */
export class NetworkPolicyStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async add(policy: NetworkPolicy): Promise<void> {
    await this.#redis.sadd(keys.networkPolicies, textOf(policy));
    await this.#announce(policy);
  }

  /** False: there is none. */
  async remove(policy: NetworkPolicy): Promise<boolean> {
    const removed = await this.#redis.srem(keys.networkPolicies, textOf(policy));
    await this.#announce(policy);
    return removed === 1;
  }

  async list(): Promise<NetworkPolicy[]> {
    return (await this.#redis.smembers(keys.networkPolicies)).sort().map(parse);
  }

  async #announce({ destination }: NetworkPolicy): Promise<void> {
    const event: StoreEvent = { kind: 'policy', app: destination };
    await this.#redis.publish(keys.channel, JSON.stringify(event));
  }
}

/** Whether the entry in the store is about the app. */
export function isPolicyOf(text: string, app: AppName): boolean {
  const { source, destination } = parse(text);
  return source === app || destination === app;
}

function textOf({ source, destination, protocol, port, endPort }: NetworkPolicy): string {
  return [source, destination, protocol, port, endPort].join(' ');
}

function parse(text: string): NetworkPolicy {
  const [source, destination, protocol, port, endPort] = text.split(' ');
  return {
    source: source as AppName,
    destination: destination as AppName,
    protocol: protocol as Protocol,
    port: Number(port),
    endPort: Number(endPort),
  };
}
