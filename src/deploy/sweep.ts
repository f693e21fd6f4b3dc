import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Engine } from '../docker/engine.ts';
import { type AppName, parseAppName } from '../domain/app.ts';
import type { AppOptions } from '../domain/app-options.ts';
import { type ContainerState, labels } from '../domain/container.ts';
import { type Deployment, isFinal } from '../domain/deployment.ts';
import type { ReconcileAction } from '../domain/measurement.ts';
import type { Endpoint } from '../domain/route.ts';
import { isTaskOver, type Task } from '../domain/task.ts';
import { appOfIpv6Network, isGuest, removeAppNetwork } from './app-network.ts';
import { volumeName } from './container-spec.ts';
import { isKeptForALook } from './troubleshoot.ts';

/** What the sweep needs to know to tell a leftover from something in use. */
export type SweepFacts = {
  engine: Engine;
  storeId: string;
  /** Throws when what was read of the store may not be true: then everything looks like a leftover. */
  assertOwnStore: () => Promise<void>;
  route: (app: AppName) => Promise<
    | {
        live: readonly Endpoint[];
        draining: readonly Endpoint[];
        paused: readonly Endpoint[];
        missing?: { release: number };
      }
    | undefined
  >;
  deployment: (app: AppName, number: number) => Promise<Deployment | undefined>;
  task: (app: AppName, number: number) => Promise<Task | undefined>;
  releases: (app: AppName) => Promise<readonly number[]>;
  keepReleases: number;
  /** Nobody can go back to it any more. */
  markFreed: (app: AppName, number: number) => Promise<void>;
  forgetRelease: (app: AppName, number: number) => Promise<void>;
  desired: (app: AppName) => Promise<Deployment | undefined>;
  options: (app: AppName) => Promise<AppOptions>;
  doomedVolumes: () => Promise<readonly { app: AppName; volume: string }[]>;
  forgetVolume: (app: AppName, volume: string) => Promise<void>;
  /** How the containers are that serve an app. */
  noteServing: (app: AppName, containers: readonly ContainerState[]) => Promise<void>;
  onAction: (action: ReconcileAction) => void;
  storeTag: string;
  stopTimeoutMs: number;
  workDir: string;
};

/**
 * Removes containers that no route names and no deployment is making: what was drained, and what a dead worker left.
 * Those that serve are kept, should the engine have been away when they were switched to. Of one app, or of all of them.
 */
export async function sweepContainers(facts: SweepFacts, app?: AppName): Promise<void> {
  // Another Gantry on this engine may have an app of that name.
  const containers = (await facts.engine.listContainers(markOf(facts, app))).filter(
    (container) => container.labels[labels.store] === facts.storeId,
  );
  const serving = new Map<AppName, ContainerState[]>();
  // Side by side: one that ignores SIGTERM must not hold up the others.
  await Promise.all(
    containers.map(async (container) => {
      switch (await useOf(facts, container)) {
        case 'none':
          await facts.assertOwnStore();
          await facts.engine.stopAndRemove(container.id, facts.stopTimeoutMs);
          return facts.onAction('remove_container');
        case 'live': {
          const app = container.labels[labels.app] as AppName;
          serving.set(app, [...(serving.get(app) ?? []), container]);
          return container.isKept ? undefined : facts.engine.keep(container.id);
        }
        case 'passing':
          return undefined;
      }
    }),
  );
  for (const [app, found] of serving) await facts.noteServing(app, found);
}

function markOf({ storeId }: SweepFacts, app: AppName | undefined): string {
  return app === undefined ? `${labels.store}=${storeId}` : `${labels.app}=${app}`;
}

async function useOf(facts: SweepFacts, container: ContainerState): Promise<'live' | 'passing' | 'none'> {
  if (isGuest(container)) return 'passing';
  const app = container.labels[labels.app] as AppName;
  const task = container.labels[labels.task];
  if (task !== undefined) {
    const { state } = (await facts.task(app, Number(task))) ?? {};
    return state === undefined || isTaskOver(state) ? 'none' : 'passing';
  }
  // The deployment first: between the two reads a candidate may become routed, never the other way round.
  const deployment = await facts.deployment(app, Number(container.labels[labels.release]));
  if (deployment !== undefined && !isFinal(deployment.state)) return 'passing';
  const route = await facts.route(app);
  const isIn = (endpoints: readonly Endpoint[] = []): boolean =>
    endpoints.some((endpoint) => endpoint.container === container.id);
  if (isIn(route?.live)) return 'live';
  // It may be about to serve.
  if (deployment !== undefined && route?.missing?.release === deployment.number) return 'passing';
  if (isKeptForALook(container, deployment)) return 'passing';
  return isIn(route?.draining) || isIn(route?.paused) ? 'passing' : 'none';
}

/** So many releases are remembered, though the images of fewer are kept. */
const rememberedReleases = 100;

export type SweptImages = {
  /** Releases whose images went. */
  freed: readonly number[];
  /** Nothing is left for another time: containers may still have used an image. */
  isDone: boolean;
};

/** Removes images of failed deployments and of releases past the kept ones. */
export async function sweepImages(facts: SweepFacts, app: AppName): Promise<SweptImages> {
  const numbers = [...(await facts.releases(app))].sort((a, b) => b - a);
  const kept = new Set(numbers.slice(0, facts.keepReleases));
  const repository = `gantry-${facts.storeTag}/${app}`;
  const images = await facts.engine.listImages(`${labels.app}=${app}`, repository);
  const desired = await facts.desired(app);
  let isDone = true;
  const freed = new Set<number>();
  const there = new Set<number>();
  for (const image of images) {
    const tag = image.tags.find((name) => name.startsWith(`${repository}:v`));
    for (const name of namesIn(facts, image, app)) {
      const number = Number(/:v(\d+)-/.exec(name)?.[1] ?? image.labels[labels.release]);
      there.add(number);
      if (kept.has(number)) continue;
      // A rollback that waits for its turn needs it.
      if (desired && !isFinal(desired.state) && desired.image === name) continue;
      const deployment = await facts.deployment(app, number);
      if (tag && deployment && !isFinal(deployment.state)) continue;
      await facts.assertOwnStore();
      if (await facts.engine.removeImage(name)) freed.add(number);
      else isDone = false;
    }
  }
  // Also what somebody else removed.
  for (const number of numbers)
    if (freed.has(number) || !there.has(number)) await facts.markFreed(app, number);
  for (const number of numbers.slice(Math.max(rememberedReleases, facts.keepReleases)))
    await facts.forgetRelease(app, number);
  return { freed: numbers.filter((number) => freed.has(number)).sort((a, b) => a - b), isDone };
}

/** What was pulled has no labels of ours, may have names that others gave it, and may be the image of several apps. */
function namesIn(
  { storeId, storeTag }: SweepFacts,
  image: { id: string; tags: string[]; labels: Record<string, string> },
  app: AppName,
): string[] {
  const isMadeHere = image.labels[labels.store] === storeId && image.labels[labels.app] === app;
  if (isMadeHere && image.tags.length === 0) return [image.id];
  const isOfApp = (tag: string): boolean => tag.startsWith(`gantry-${storeTag}/${app}:`);
  const isOurs = (tag: string): boolean => tag.startsWith(`gantry-${storeTag}/`);
  return image.tags.filter((tag) => isOfApp(tag) || (isMadeHere && !isOurs(tag)));
}

/** Deletes the data of volumes that were to go, unless a container of theirs is still there or about to be. */
export async function sweepVolumes(facts: SweepFacts, app?: AppName): Promise<void> {
  for (const { app: owner, volume } of await facts.doomedVolumes()) {
    if (app !== undefined && owner !== app) continue;
    const desired = await facts.desired(owner);
    if (desired !== undefined && !isFinal(desired.state)) continue;
    // It was given to the app again a moment ago.
    if ((await facts.options(owner)).volumes.some(({ name }) => name === volume)) continue;
    await facts.assertOwnStore();
    if (!(await facts.engine.removeVolume(volumeName(facts.storeTag, owner, volume)))) continue;
    await facts.forgetVolume(owner, volume);
    facts.onAction('remove_volume');
  }
}

/** Removes IPv6 networks that an app has left, for another one or none. */
export async function sweepNetworks(facts: SweepFacts, app?: AppName): Promise<void> {
  const { engine, storeTag } = facts;
  for (const network of await engine.listNetworks(markOf(facts, app))) {
    const owner = appOfIpv6Network(storeTag, network);
    if (owner === undefined) continue;
    const desired = await facts.desired(owner);
    if (desired !== undefined && !isFinal(desired.state)) continue;
    const members = await engine.inspectNetwork(network);
    if (!members?.containers.every(isGuest)) continue;
    await facts.assertOwnStore();
    await removeAppNetwork(engine, network);
    facts.onAction('remove_network');
  }
}

/** Removes checkouts that a dead worker left, once their deployments have ended. */
export async function sweepCheckouts(facts: SweepFacts, app?: AppName): Promise<void> {
  for (const folder of await readdir(facts.workDir)) {
    const owner = parseAppName(folder);
    if (owner === undefined || (app !== undefined && owner !== app)) continue;
    for (const name of await readdir(join(facts.workDir, owner))) {
      const deployment = await facts.deployment(owner, Number.parseInt(name, 10));
      if (deployment !== undefined && !isFinal(deployment.state)) continue;
      await facts.assertOwnStore();
      await rm(join(facts.workDir, owner, name), { recursive: true, force: true });
      facts.onAction('remove_checkout');
    }
  }
}
