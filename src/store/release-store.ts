import type { Redis } from 'ioredis';
import type { AppName, CommitSha } from '../domain/app.ts';
import { readAppOptions } from '../domain/app-options.ts';
import type { CronEntry } from '../domain/cron-file.ts';
import type { Trigger } from '../domain/deployment.ts';
import type { EnvChanges } from '../domain/env-changes.ts';
import type { Release } from '../domain/release.ts';
import { keys } from './keys.ts';
import { parseSealedEnv } from './sealed-env.ts';

/** Releases per app. They are written by the switch of a deployment; all that changes is whether their image is kept. */
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
      imageId: fields.imageId || undefined,
      imageBytes: fields.imageBytes ? Number(fields.imageBytes) : undefined,
      isKept: !fields.freedAt,
      commit: (fields.commit ?? '') as CommitSha,
      pull: fields.pullReference
        ? { reference: fields.pullReference, digest: fields.pullDigest || undefined }
        : undefined,
      published: fields.published || undefined,
      subject: fields.subject ?? '',
      by: fields.by ?? '',
      trigger: (fields.trigger ?? 'push') as Trigger,
      rollbackTo: fields.rollbackTo ? Number(fields.rollbackTo) : undefined,
      options: readAppOptions(fields.options),
      envChanges: fields.envChanges ? (JSON.parse(fields.envChanges) as EnvChanges) : undefined,
      cron: fields.cron ? (JSON.parse(fields.cron) as CronEntry[]) : [],
      createdAt: new Date(fields.createdAt ?? 0),
      hasCrashed: fields.crashed === '1',
    };
  }

  /** The numbers, newest first. */
  async numbers(app: AppName): Promise<number[]> {
    return (await this.#redis.zrevrange(keys.releases(app), 0, -1)).map(Number);
  }

  /** The newest first. */
  async list(app: AppName): Promise<Release[]> {
    const numbers = await this.numbers(app);
    const found = await Promise.all(numbers.map((number) => this.get(app, number)));
    return found.filter((release) => release !== undefined);
  }

  /** The sealed variables its containers got. */
  async sealedEnv(app: AppName, number: number): Promise<Record<string, string>> {
    return parseSealedEnv(await this.#redis.hget(keys.release(app, number), 'env'));
  }

  /** Its image is gone: nobody can go back to it. */
  async markFreed(app: AppName, number: number): Promise<void> {
    await this.#redis.eval(freedScript, 1, keys.release(app, number), new Date().toISOString());
  }

  async forget(app: AppName, number: number): Promise<void> {
    await this.#redis.multi().zrem(keys.releases(app), number).del(keys.release(app, number)).exec();
  }
}

/** Not for one that was forgotten meanwhile. */
const freedScript = `
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSETNX', KEYS[1], 'freedAt', ARGV[1]) end
`;
