import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import type { Instance } from '../domain/instance.ts';
import { keys, type StoreEvent } from './keys.ts';
import type { StoreEvents } from './store-events.ts';

const answerForSeconds = 30;

/** The server has no engine: it asks, and a worker that has one answers. */
export class InstanceStore {
  readonly #redis: Redis;
  readonly #events: StoreEvents;

  constructor(redis: Redis, events: StoreEvents) {
    this.#redis = redis;
    this.#events = events;
  }

  /** `undefined`: no worker has answered within the time. */
  async ask(app: AppName, limitMs: number): Promise<Instance[] | undefined> {
    const id = randomUUID();
    let answer: string | null = null;
    await this.#publish({ kind: 'instances asked', app, id });
    await this.#events.until(
      async () => (answer = await this.#redis.get(keys.instances(id))) !== null,
      (event) => event.kind === 'instances told' && event.id === id,
      limitMs,
    );
    return answer === null ? undefined : (JSON.parse(answer) as Instance[]);
  }

  /** The first answer counts. */
  async tell(id: string, instances: readonly Instance[]): Promise<void> {
    await this.#redis.set(keys.instances(id), JSON.stringify(instances), 'EX', answerForSeconds, 'NX');
    await this.#publish({ kind: 'instances told', id });
  }

  async #publish(event: StoreEvent): Promise<void> {
    await this.#redis.publish(keys.channel, JSON.stringify(event));
  }
}
