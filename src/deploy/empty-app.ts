import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { AppName } from '../domain/app.ts';
import { labels } from '../domain/container.ts';
import { removeAppNetwork } from './app-network.ts';
import type { Owned } from './attempt.ts';

/**
 * Removes everything of an app that is to go from the engine, its volumes only with `deleteData`. What serves was stopped
 * before. Throws when the engine keeps something back; fine to repeat.
 */
export async function emptyApp({ guard, tools }: Owned, app: AppName, deleteData: boolean): Promise<void> {
  const { engine, storeId, storeTag, limits } = tools;
  const [ofApp, ofStore] = [`${labels.app}=${app}`, `${labels.store}=${storeId}`];
  const both = async (list: (label: string) => Promise<string[]>): Promise<string[]> => {
    const [some, all] = await Promise.all([list(ofApp), list(ofStore)]);
    return some.filter((name) => all.includes(name));
  };

  const containers = await engine.listContainers(ofApp);
  guard();
  await Promise.all(
    containers
      .filter((container) => container.labels[labels.store] === storeId)
      .map(({ id }) => engine.stopAndRemove(id, limits.stopTimeoutMs)),
  );
  const repository = `gantry-${storeTag}/${app}`;
  for (const image of await engine.listImages(ofApp, repository)) {
    const isMadeHere = image.labels[labels.store] === storeId && image.labels[labels.app] === app;
    const ours = image.tags.filter((tag) => tag.startsWith(`${repository}:`));
    // What was pulled may have names that others gave it.
    const names = isMadeHere && ours.length === image.tags.length ? [...ours, image.id] : ours;
    for (const name of names) {
      guard();
      await engine.removeImage(name);
    }
  }
  for (const network of await both((label) => engine.listNetworks(label))) {
    guard();
    await removeAppNetwork(engine, network);
  }
  if (deleteData) {
    for (const volume of await both((label) => engine.listVolumes(label))) {
      guard();
      if (!(await engine.removeVolume(volume))) throw new Error(`the volume ${volume} is still used`);
    }
  }
  guard();
  await rm(join(tools.workDir, app), { recursive: true, force: true });
}
