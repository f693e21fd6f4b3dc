import { randomUUID } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { type Config, dataPaths } from '../config.ts';
import { type App, type AppName, parseAppName } from '../domain/app.ts';
import { Repositories } from '../git/repositories.ts';
import { AppStore } from '../store/app-store.ts';
import { DeploymentStore } from '../store/deployment-store.ts';
import { RestoredAppsStore } from '../store/restored-apps-store.ts';
import { loadSealer, type Sealer } from '../store/sealing.ts';
import { TaskStore } from '../store/task-store.ts';

/**
 * For a store that is as it was some time ago: what was under way in it is over, every app is to be looked at, and no
 * number is given again that the data folder knows. Fine to repeat. Returns what people should know.
 */
export async function endAll(redis: Redis, config: Config, reason: string): Promise<string[]> {
  const deployments = new DeploymentStore(redis);
  const restored = new RestoredAppsStore(redis);
  const told: string[] = [];
  for (const { name, live } of await appsOf(redis, config)) {
    for (const number of await deployments.endRestored(name, reason)) {
      const state = (await deployments.get(name, number))?.state ?? '';
      told.push(`#${number} of ${name} was under way then and is ${state} now`);
    }
    if (live !== undefined) await restored.add(name);
  }
  for (const name of await appsOnDisk(config)) await skipNumbersOnDisk(deployments, config, name);
  const tasks = new TaskStore(redis, await sealerOf(config));
  for (const { app, number } of await tasks.open()) {
    const fence = randomUUID();
    await tasks.claim(app, number, fence);
    await tasks.finish(app, number, fence, { reason });
    told.push(`the task ${number} of ${app} was under way then and counts as failed now`);
  }
  return told;
}

export async function appsOf(redis: Redis, config: Config): Promise<App[]> {
  return new AppStore(redis, await sealerOf(config)).list();
}

function sealerOf({ dataDir }: Config): Promise<Sealer> {
  return loadSealer(dataPaths(dataDir).keys, false);
}

/** Also those that are newer than the store, and may be made again. */
async function appsOnDisk({ dataDir }: Config): Promise<Set<AppName>> {
  const paths = dataPaths(dataDir);
  const folders = (await readdir(paths.logs).catch(() => [])).map(parseAppName);
  const repositories = await new Repositories(paths.repositories).list();
  return new Set([...repositories, ...folders.filter((name) => name !== undefined)]);
}

/**
 * The data folder has logs of deployments that ended, and commits of those that had not. Nobody lets go of the latter any
 * more.
 */
async function skipNumbersOnDisk(
  deployments: DeploymentStore,
  { dataDir }: Config,
  app: AppName,
): Promise<void> {
  const paths = dataPaths(dataDir);
  const files = await readdir(join(paths.logs, app)).catch(() => []);
  const logs = files.map((name) => Number.parseInt(name, 10)).filter((number) => number > 0);
  const repositories = new Repositories(paths.repositories);
  const repository = (await repositories.exists(app)) ? repositories.open(app) : undefined;
  const pins = ((await repository?.pins()) ?? []).map(Number);
  await deployments.skipNumbers(app, Math.max(0, ...logs, ...pins));
  for (const number of pins)
    if (!(await deployments.get(app, number))) await repository?.unpin(String(number));
}
