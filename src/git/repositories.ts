import { randomUUID } from 'node:crypto';
import { lstat, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sync } from '../atomic-file.ts';
import { type AppName, parseAppName } from '../domain/app.ts';
import { runGit } from './git-command.ts';
import { Repository } from './repository.ts';

/** The bare repositories of all apps, one folder each: `<root>/<app>.git`. */
export class Repositories {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  path(app: AppName): string {
    return join(this.root, `${app}.git`);
  }

  open(app: AppName): Repository {
    return new Repository(this.path(app));
  }

  async exists(app: AppName): Promise<boolean> {
    // lstat: a link could point at somebody else's repository.
    const entry = await lstat(this.path(app)).catch(() => undefined);
    return entry?.isDirectory() ?? false;
  }

  async list(): Promise<AppName[]> {
    const entries = await readdir(this.root, { withFileTypes: true }).catch(() => []);
    return entries
      .filter((entry) => entry.isDirectory() && entry.name.endsWith('.git'))
      .map((entry) => parseAppName(entry.name.slice(0, -'.git'.length)))
      .filter((name) => name !== undefined);
  }

  /** Makes an empty repository unless there is one. It appears all at once, also when two first pushes race. */
  async create(app: AppName): Promise<Repository> {
    if (await this.exists(app)) return this.open(app);
    await mkdir(this.root, { recursive: true, mode: 0o700 });
    const unfinished = join(this.root, `.new-${randomUUID()}`);
    try {
      await runGit(['init', '--bare', '--quiet', '--template=', '--initial-branch=main', unfinished], {});
      // git syncs what it is given to keep, not the settings of a repository.
      for (const name of ['config', 'HEAD']) await sync(join(unfinished, name));
      await rename(unfinished, this.path(app));
      await sync(this.root);
    } catch (error) {
      await rm(unfinished, { recursive: true, force: true });
      if (!(await this.exists(app)))
        throw new Error(`could not create the repository of ${app}`, { cause: error });
    }
    return this.open(app);
  }

  /**
   * Removes what refused first pushes leave: a repository without any ref that belongs to no app. And those that were being
   * made or removed when we were killed. Not while pushes run.
   */
  async removeUnused(isApp: (app: AppName) => Promise<boolean>): Promise<void> {
    for (const name of await readdir(this.root).catch(() => []))
      if (/^\.(new|old)-/.test(name)) await rm(join(this.root, name), { recursive: true, force: true });
    for (const app of await this.list()) {
      if (await isApp(app)) continue;
      const refs = await runGit(['for-each-ref', '--count=1'], { gitDir: this.path(app) });
      if (refs === '') await this.remove(app);
    }
  }

  /** Forgets everything that was ever pushed to an app. */
  async remove(app: AppName): Promise<void> {
    const goner = join(this.root, `.old-${randomUUID()}`);
    try {
      await rename(this.path(app), goner);
    } catch (error) {
      if (await this.exists(app)) throw error;
      return;
    }
    await rm(goner, { recursive: true, force: true });
  }
}
