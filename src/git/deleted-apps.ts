import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Coalesced } from '../coalesced.ts';
import type { AppName } from '../domain/app.ts';
import type { Logger } from '../logger.ts';
import type { AppDeletions } from '../store/app-deletions.ts';
import type { AppStore } from '../store/app-store.ts';
import type { OutgoingStore } from '../store/outgoing-store.ts';
import type { StoreEvents } from '../store/store-events.ts';
import type { TokenStore } from '../store/token-store.ts';
import type { VolumeStore } from '../store/volume-store.ts';
import type { Repositories } from './repositories.ts';

const lookEveryMs = 5000;

type Deps = {
  deletions: AppDeletions;
  apps: AppStore;
  outgoing: OutgoingStore;
  tokens: TokenStore;
  volumes: VolumeStore;
  repositories: Repositories;
  events: StoreEvents;
  /** The names it has as long as it is there. */
  hostsOf: (app: AppName) => readonly string[];
  /** Ends what is done for the app at set times. */
  unschedule: (app: AppName) => Promise<void>;
  /** Folders with something of every app, in one of its name. */
  folders: readonly string[];
  logger: Logger;
};

/** Removes what a server has of apps that a worker has emptied, their names last. */
export class DeletedApps {
  readonly #deps: Deps;
  readonly #stopListening: () => void;
  readonly #timer: NodeJS.Timeout;
  readonly #looks = new Coalesced(() => this.#look());

  constructor(deps: Deps) {
    this.#deps = deps;
    this.#stopListening = deps.events.listen((event) => {
      if (event.kind === 'emptied') void this.#looks.run();
    });
    // A hint may be lost, and so may the server that heard it.
    this.#timer = setInterval(() => void this.#looks.run(), lookEveryMs);
    void this.#looks.run();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopListening();
    await this.#looks.settled();
  }

  async #look(): Promise<void> {
    const { deletions, logger } = this.#deps;
    try {
      for (const { app, deleteData } of await deletions.emptied()) await this.#remove(app, deleteData);
    } catch (err) {
      logger.debug({ err }, 'apps could not be deleted; it is tried again');
    }
  }

  async #remove(app: AppName, deleteData: boolean): Promise<void> {
    const { deletions, apps, outgoing, tokens, volumes, repositories, folders, logger } = this.#deps;
    await this.#deps.unschedule(app);
    for (const { id } of await outgoing.list(app)) await outgoing.remove(app, id);
    // One that is good for nothing else must not be good for the next app of this name.
    for (const { tokenId, scopes } of await tokens.list())
      if (scopes.every((scope) => isAbout(scope, app))) await tokens.revoke(tokenId);
    const { volumes: attached } = await apps.options(app);
    for (const { name } of attached) await volumes.detach(app, name, false);
    if (deleteData) for (const name of await volumes.detached(app)) await volumes.forget(app, name);
    await repositories.remove(app);
    for (const folder of folders) await rm(join(folder, app), { recursive: true, force: true });
    await deletions.forget(app, this.#deps.hostsOf(app));
    logger.info({ app, deleteData }, 'app deleted');
  }
}

function isAbout(scope: string, app: AppName): boolean {
  return scope === `deploy:${app}` || scope === `read:${app}`;
}
