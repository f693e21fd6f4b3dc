import type { EngineTerminal, LocalImage } from '../docker/engine.ts';
import { type ContainerSpec, labels } from '../domain/container.ts';
import type { Problem } from '../domain/deployment.ts';
import { tooLongToRun } from '../domain/env.ts';
import type { Endpoint } from '../domain/route.ts';
import { safeText } from '../domain/safe-text.ts';
import { appNetwork } from './app-network.ts';
import type { Attempt } from './attempt.ts';
import { containerSpec, freeAddress } from './container-spec.ts';
import { joinServices, serviceOutOfReach } from './join-services.ts';
import { isAbandoned, tellSpecs } from './troubleshoot.ts';

/** The running containers of a release that has not proved itself. They are removed unless they are kept. */
export type Candidate = {
  endpoints: readonly Endpoint[];
  keep: () => void;
  /** It was not switched to after all. */
  letGo: () => void;
  [Symbol.asyncDispose]: () => Promise<void>;
};

/** Where a candidate will live: the network of its app and an address per instance that nobody else holds. */
export type Place = { network: string; addresses: readonly string[] } | { problem: Problem };

/** Takes a while and needs nothing of the build, so it runs beside it. */
export async function preparePlace(
  attempt: Attempt,
  instances = attempt.deployment.options.instances,
): Promise<Place> {
  const { deployment, tools } = attempt;
  // The one address of the machine that every program in its network can be reached at.
  if (deployment.options.network === 'host')
    return serviceOutOfReach(attempt) ?? { network: 'host', addresses: ['127.0.0.1'] };
  const [made, siblings] = await Promise.all([
    appNetwork(attempt),
    tools.engine.listContainers(`${labels.app}=${deployment.app}`),
  ]);
  if ('problem' in made) return made;
  const { network, subnet } = made;
  const ours = siblings.filter((container) => container.labels[labels.store] === tools.storeId);
  const abandoned = ours.filter((container) => isAbandoned(container, deployment.number));
  await Promise.allSettled(abandoned.map(({ id }) => tools.engine.stopAndRemove(id, 0)));
  const problem = await joinServices(attempt, network);
  if (problem) return { problem };
  const members = await tools.engine.inspectNetwork(network);
  const taken = [...ours, ...(members?.containers ?? [])].map(({ address }) => address ?? '');
  const addresses: string[] = [];
  while (addresses.length < instances) {
    const start = deployment.number * instances + addresses.length;
    const address = freeAddress(subnet, [...taken, ...addresses], start);
    if (address === undefined) return { problem: noAddress };
    addresses.push(address);
  }
  return { network, addresses };
}

const noAddress: Problem = {
  reason: 'no free address in the network of the app',
  hints: [
    'older releases that still finish their requests hold the others; try again in a minute',
    'each service that runs here has one, too: an app with six instances has room for one',
  ],
};

/** Starts the new release beside the old one. Nothing here touches what serves. */
export async function startCandidate(
  attempt: Attempt,
  image: LocalImage,
  place: Exclude<Place, { problem: Problem }>,
): Promise<{ candidate: Candidate } | { problem: Problem }> {
  const { deployment, settings, tools, log } = attempt;
  const { engine } = tools;
  const { instances } = deployment.options;
  await log.heading(`Starting v${deployment.number}${instances === 1 ? '' : `, ${instances} instances`}`);
  const made = specsOf(attempt, image, place);
  if ('problem' in made) return made;
  const { specs } = made;
  await tellSpecs(attempt, specs);
  attempt.guard();
  const attempts = await Promise.allSettled(specs.map((spec) => startSomewhere(attempt, spec)));
  const started = attempts.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const containers = started.flatMap((result) => (result.ok ? [result] : []));

  let kept = false;
  const remove = async (): Promise<void> => {
    // What the engine cannot do now, the sweep does later; the reason of the failure must not be lost over it.
    if (!kept)
      await Promise.allSettled(containers.map(({ container }) => engine.stopAndRemove(container, 0)));
  };
  const broken = attempts.find((result) => result.status === 'rejected');
  const refused = started.find((result) => !result.ok);
  if (broken || refused) await remove();
  if (broken) throw broken.reason;
  if (refused) return { problem: { reason: safeText(refused.reason, 150) } };

  const candidate: Candidate = {
    endpoints: containers.map(({ container, address }) => ({
      container,
      address,
      port: settings.port,
      tcpPort: settings.tcpPort,
      release: deployment.number,
    })),
    keep: () => {
      kept = true;
    },
    letGo: () => {
      kept = false;
    },
    [Symbol.asyncDispose]: remove,
  };
  return { candidate };
}

/** What to run, one container per address: these instances, counted from 0. */
export function specsOf(
  attempt: Attempt,
  { name, workingDir }: LocalImage,
  place: Exclude<Place, { problem: Problem }>,
  instances: readonly number[] = [...place.addresses.keys()],
): { specs: ContainerSpec[] } | { problem: Problem } {
  const specs = place.addresses.map((address, index) =>
    containerSpec(attempt, { reference: name, workingDir }, place.network, address, instances[index] ?? 0),
  );
  const tooLong = specs.map(({ env }) => tooLongToRun(env)).find((name) => name !== undefined);
  if (tooLong)
    return {
      problem: { reason: `${tooLong} is longer than 128 KiB, which no container can be started with` },
    };
  return { specs };
}

/** Of a container of the image that nobody visits: at an address of its own, and without a port. */
export async function lonelySpec(
  attempt: Attempt,
  image: LocalImage,
): Promise<{ spec: ContainerSpec } | { problem: Problem }> {
  const place = await preparePlace(attempt);
  if ('problem' in place) return place;
  const made = specsOf(attempt, image, place);
  if ('problem' in made) return made;
  const [instance] = made.specs;
  if (!instance) throw new Error('there is no place to run anything');
  const { PORT: _, ...env } = instance.env;
  const { [labels.hostPorts]: __, ...marks } = instance.labels;
  return { spec: { ...instance, env, labels: marks } };
}

/**
 * Somewhere else should the address have been taken since it was chosen: tasks of the app come and go. In a new network
 * should somebody have removed the one that was made before a long build: `docker system prune` does.
 */
export async function startSomewhere(
  attempt: Attempt,
  spec: ContainerSpec,
): Promise<
  { ok: true; container: string; address: string; terminal?: EngineTerminal } | { ok: false; reason: string }
> {
  let { address } = spec;
  for (let left = 5; ; left -= 1) {
    const started = await attempt.tools.engine.startContainer({ ...spec, address });
    if (started.ok) return { ...started, address };
    if (!started.lost || left === 0) return started;
    const place = await preparePlace(attempt);
    if ('problem' in place) return { ok: false, reason: place.problem.reason };
    if (started.lost === 'address') address = place.addresses.at(-1) ?? address;
  }
}
