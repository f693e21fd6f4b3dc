import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import { readAppOptions } from '../domain/app-options.ts';
import { keys } from './keys.ts';

/** What is left of volumes that apps do not have any more. The ones they have are among their options. */
export class VolumeStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async detached(app: AppName): Promise<string[]> {
    return (await this.#redis.smembers(keys.detachedVolumes(app))).sort();
  }

  /** Its data are kept, or deleted once nothing uses them. */
  async detach(app: AppName, volume: string, deleteData: boolean): Promise<void> {
    const change = this.#redis.multi().sadd(keys.detachedVolumes(app), volume);
    if (deleteData) change.sadd(keys.doomedVolumes, doom(app, volume));
    await change.exec();
  }

  /** An app has it (again): its data stay. */
  async attach(app: AppName, volume: string): Promise<void> {
    await this.#redis
      .multi()
      .srem(keys.doomedVolumes, doom(app, volume))
      .srem(keys.detachedVolumes(app), volume)
      .exec();
  }

  /** Options of an app were replaced by others: volumes they do not have any more are kept, as after a removal. */
  async follow(app: AppName, options: { from: string; to: string }): Promise<void> {
    const names = (text: string): string[] => readAppOptions(text).volumes.map(({ name }) => name);
    const [before, after] = [names(options.from), names(options.to)];
    for (const name of after) await this.attach(app, name);
    for (const name of before) if (!after.includes(name)) await this.detach(app, name, false);
  }

  async doomed(): Promise<{ app: AppName; volume: string }[]> {
    return (await this.#redis.smembers(keys.doomedVolumes)).map((text) => {
      const [app = '', volume = ''] = text.split('.');
      return { app: app as AppName, volume };
    });
  }

  /** Its data are deleted. */
  async forget(app: AppName, volume: string): Promise<void> {
    await this.attach(app, volume);
  }
}

/** Neither name can have a dot. */
function doom(app: AppName, volume: string): string {
  return `${app}.${volume}`;
}
