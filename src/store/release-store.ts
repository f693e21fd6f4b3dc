import type { Redis } from 'ioredis';
import type { AppName, CommitSha } from '../domain/app.ts';
import type { CronEntry } from '../domain/cron-file.ts';
import type { Release } from '../domain/release.ts';
import { keys } from './keys.ts';

/** Releases per app. They are written by the switch of a deployment and never changed. */
export class ReleaseStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async get(app: AppName, number: number): Promise<Release | undefined> {
    const fields = await this.#redis.hgetall(keys.release(app, number));
    if (!fields.image) return undefined;
    return {
      app,
      number,
      image: fields.image,
      commit: fields.commit as CommitSha,
      subject: fields.subject ?? '',
      by: fields.by ?? '',
      cron: fields.cron ? (JSON.parse(fields.cron) as CronEntry[]) : [],
      createdAt: new Date(fields.createdAt ?? 0),
    };
  }

  /** The numbers, newest first. */
  async numbers(app: AppName): Promise<number[]> {
    return (await this.#redis.zrevrange(keys.releases(app), 0, -1)).map(Number);
  }

  async forget(app: AppName, number: number): Promise<void> {
    await this.#redis.multi().zrem(keys.releases(app), number).del(keys.release(app, number)).exec();
  }
}
