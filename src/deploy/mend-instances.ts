import { type ContainerState, labels } from '../domain/container.ts';
import type { Problem } from '../domain/deployment.ts';
import type { Endpoint } from '../domain/route.ts';
import { type Attempt, isTask } from './attempt.ts';
import { awaitHealthy } from './await-healthy.ts';
import { findImage } from './build-image.ts';
import { instanceOf } from './look-at-instances.ts';
import { withPortOf } from './pull-image.ts';
import { preparePlace, specsOf, startSomewhere } from './start-candidate.ts';

/** What the route says of a release. */
type ServingNow = { live: readonly Endpoint[]; missing?: { count: number } };

export type Mended = {
  /** So many instances were started. */
  started: number;
  /** Why others could not be. */
  problem: Problem | undefined;
};

/** A router that is away has nobody to send. */
const routerPatienceMs = 5000;

/**
 * Starts what should serve of the live release and does not: stopped containers as they are, others anew from its image
 * with its variables and options, each healthy before it gets visitors. Those that run serve alone meanwhile.
 * One that the engine is about to start again is left to that.
 */
export async function mendInstances(
  asked: Attempt,
  image: string,
  { live, missing: before }: ServingNow,
): Promise<Mended> {
  const { deployment, tools, signal } = asked;
  const { app, number } = deployment;
  if (isTask(asked)) return { started: 0, problem: undefined };
  const attempt = await withItsPort(asked, image);
  const containers = (await tools.engine.listContainers(`${labels.app}=${app}`)).filter(
    ({ labels: marks }) =>
      marks[labels.store] === tools.storeId &&
      marks[labels.release] === String(number) &&
      marks[labels.task] === undefined,
  );
  const found = live.flatMap((endpoint) => {
    const container = containers.find(({ id }) => id === endpoint.container);
    return container ? [{ endpoint, container, instance: instanceOf(container) }] : [];
  });
  const up = found.filter(({ container }) => isUp(container, tools.storeTag));
  const missing = Array.from({ length: deployment.options.instances }, (_, instance) => instance).filter(
    (wanted) => !up.some(({ instance }) => instance === wanted),
  );
  const isRouted = up.length === live.length && missing.length === (before?.count ?? 0);
  if (missing.length === 0 && isRouted) return { started: 0, problem: undefined };

  const serve = async (endpoints: readonly Endpoint[]): Promise<void> => {
    attempt.guard();
    const left = deployment.options.instances - endpoints.length;
    const version = await tools.serve(app, { release: number, live: endpoints, missing: left });
    await tools.routeApplied(app, version, routerPatienceMs, signal);
  };
  if (!isRouted) await serve(up.map(({ endpoint }) => endpoint));
  const down = found.filter((one) => !up.includes(one));
  const mended = await Promise.all(
    missing.map(async (instance) => ({
      instance,
      ...(await startInstance(
        attempt,
        image,
        instance,
        down.find((one) => one.instance === instance),
      )),
    })),
  );
  const fresh = mended.flatMap(({ instance, endpoint }) => (endpoint ? [{ instance, endpoint }] : []));
  if (fresh.length > 0) {
    const all = [...up, ...fresh].sort((a, b) => a.instance - b.instance);
    await serve(all.map(({ endpoint }) => endpoint));
  }
  return { started: fresh.length, problem: mended.find(({ problem }) => problem)?.problem };
}

/** Whether it runs where the router can reach it, or is about to. */
export function isUp(
  { running, isRestarting, networks }: Pick<ContainerState, 'running' | 'isRestarting' | 'networks'>,
  storeTag: string,
): boolean {
  const isReachable = 'host' in networks || addressOf({ networks }, storeTag) !== undefined;
  return isRestarting || (running && isReachable);
}

/** Where the router reaches it, unless it has the network of the machine. */
export function addressOf(
  { networks }: Pick<ContainerState, 'networks'>,
  storeTag: string,
): string | undefined {
  return Object.entries(networks).find(([name]) => name.startsWith(`gantry-${storeTag}-`))?.[1];
}

/** Of a pulled image it is known where it listens only with the image at hand. */
async function withItsPort(attempt: Attempt, image: string): Promise<Attempt> {
  if (!attempt.deployment.pull) return attempt;
  const facts = await attempt.tools.engine.inspectImage(image);
  const found = facts && withPortOf(attempt, facts);
  return found && 'attempt' in found ? found.attempt : attempt;
}

type Started = { endpoint?: Endpoint; problem?: Problem };

async function startInstance(
  attempt: Attempt,
  image: string,
  instance: number,
  stopped: { endpoint: Endpoint; container: ContainerState } | undefined,
): Promise<Started> {
  const { engine } = attempt.tools;
  const made = (await startAgain(attempt, stopped)) ?? (await startAnew(attempt, image, instance));
  if (!made.endpoint) return made;
  const { container } = made.endpoint;
  let isHealthy = false;
  try {
    const problem = await awaitHealthy(attempt, [made.endpoint]);
    if (problem) return { problem };
    isHealthy = true;
    await engine.keep(container);
    return made;
  } finally {
    if (!isHealthy) await engine.stopAndRemove(container, 0).catch(() => {}); // the sweep does it later
  }
}

/** `undefined`: it cannot be, and is gone. */
async function startAgain(
  { guard, tools }: Attempt,
  stopped: { endpoint: Endpoint; container: ContainerState } | undefined,
): Promise<Started | undefined> {
  if (!stopped) return undefined;
  const { endpoint, container } = stopped;
  guard();
  if (!container.running && (await tools.engine.startAgain(container.id)).ok) return { endpoint };
  await tools.engine.stopAndRemove(container.id, 0);
  return undefined;
}

async function startAnew(attempt: Attempt, image: string, instance: number): Promise<Started> {
  const { deployment, settings } = attempt;
  const { app, number } = deployment;
  const found = await findImage(attempt, image);
  if (!found)
    return {
      problem: {
        reason: `the image of v${number} is missing on the engine`,
        hints: [`redeploy: gantry redeploy --app ${app}`],
      },
    };
  const place = await preparePlace(attempt, 1);
  if ('problem' in place) return place;
  const made = specsOf(attempt, found, place, [instance]);
  if ('problem' in made) return made;
  const [spec] = made.specs;
  if (!spec) throw new Error('there is no place for an instance');
  attempt.guard();
  const started = await startSomewhere(attempt, spec);
  if (!started.ok) return { problem: { reason: started.reason } };
  return {
    endpoint: {
      container: started.container,
      address: started.address,
      port: settings.port,
      tcpPort: settings.tcpPort,
      release: number,
    },
  };
}
