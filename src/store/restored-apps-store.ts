import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import { keys } from './keys.ts';

/** How far bringing an app of a restored backup back has come. */
export type ComeBack = {
  /** When somebody looked for the first time. */
  since: number;
  tries: number;
  /** The deployment that was asked for last. */
  number?: number;
};

/** Apps of a backup that was restored, until each serves again or it was given up. */
export class RestoredAppsStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async add(app: AppName): Promise<void> {
    await this.#redis.hsetnx(keys.restored, app, JSON.stringify({ since: 0, tries: 0 } satisfies ComeBack));
  }

  async list(): Promise<{ app: AppName; comeBack: ComeBack }[]> {
    const found = Object.entries(await this.#redis.hgetall(keys.restored));
    return found.map(([app, text]) => ({ app: app as AppName, comeBack: JSON.parse(text) as ComeBack }));
  }

  async note(app: AppName, comeBack: ComeBack): Promise<void> {
    await this.#redis.hset(keys.restored, app, JSON.stringify(comeBack));
  }

  async remove(app: AppName): Promise<void> {
    await this.#redis.hdel(keys.restored, app);
  }
}
