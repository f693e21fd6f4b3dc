import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AppName } from '../domain/app.ts';
import type { Logger } from '../logger.ts';
import type { Repositories } from './repositories.ts';

/** git holds a lock for milliseconds, however long a push takes. */
const lookAgainMs = 1000;

/**
 * Clears up after a git that was killed, or whose power was cut: it never does so itself. Nothing can be pushed any more
 * where it left a lock.
 */
export class KilledGit {
  readonly #repositories: Repositories;
  readonly #logger: Logger;
  /** The locks that were there at the last look, and which ones they were. */
  readonly #seen = new Map<string, string>();

  constructor(repositories: Repositories, logger: Logger) {
    this.#repositories = repositories;
    this.#logger = logger;
  }

  /**
   * To be called before pushes are taken: it throws away what has come of unfinished ones. Takes a second when it finds a
   * lock.
   */
  async clearUp(): Promise<void> {
    const apps = await this.#repositories.list();
    for (const app of apps) {
      await this.#removeUnfinished(app);
      await this.removeLocks(app);
    }
    if (this.#seen.size === 0) return;
    await sleep(lookAgainMs);
    for (const app of apps) await this.removeLocks(app);
  }

  /** Those that were there at the last look. */
  async removeLocks(app: AppName): Promise<void> {
    const { path } = this.#repositories.open(app);
    const names = await Promise.all([readdir(path), readdir(join(path, 'refs'), { recursive: true })]).then(
      ([top, refs]) => [...top, ...refs.map((name) => join('refs', name))],
      () => [], // it has just been deleted
    );
    for (const lock of names.filter((name) => name.endsWith('.lock')).map((name) => join(path, name))) {
      const found = await stat(lock).catch(() => undefined);
      const before = this.#seen.get(lock);
      this.#seen.delete(lock);
      if (!found) continue;
      const which = `${found.ino} ${found.mtimeMs}`;
      if (before === which) {
        this.#logger.warn({ app, lock }, 'a lock that git left when it was killed is removed');
        await rm(lock, { force: true });
      } else this.#seen.set(lock, which);
    }
  }

  async #removeUnfinished(app: AppName): Promise<void> {
    const objects = join(this.#repositories.open(app).path, 'objects');
    for (const folder of [objects, join(objects, 'pack')])
      for (const name of await readdir(folder).catch(() => []))
        if (name.startsWith('tmp_')) await rm(join(folder, name), { recursive: true, force: true });
  }
}
