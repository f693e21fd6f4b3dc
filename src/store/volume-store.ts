import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
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
