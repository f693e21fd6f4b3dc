import { labels } from '../domain/container.ts';
import type { Problem } from '../domain/deployment.ts';
import { tooLongToRun } from '../domain/env.ts';
import type { Endpoint } from '../domain/route.ts';
import { safeText } from '../domain/safe-text.ts';
import type { Attempt } from './attempt.ts';
import { containerSpec, freeAddress } from './container-spec.ts';

/** A running container that has not proved itself. It removes itself unless it is kept. */
export type Candidate = Endpoint & { keep: () => void; [Symbol.asyncDispose]: () => Promise<void> };

/** Where a candidate will live: the network of its app and an address nobody else holds. */
export type Place = { network: string; address: string } | { problem: Problem };

/** Takes a while and needs nothing of the build, so it runs beside it. */
export async function preparePlace(attempt: Attempt): Promise<Place> {
  const { deployment, tools } = attempt;
  const [{ network, subnet }, siblings] = await Promise.all([
    appNetwork(attempt),
    tools.engine.listContainers(`${labels.app}=${deployment.app}`),
  ]);
  const ours = siblings.filter((container) => container.labels[labels.store] === tools.storeId);
  const taken = ours.flatMap((container) => (container.address ? [container.address] : []));
  const address = freeAddress(subnet, taken, deployment.number);
  return address === undefined
    ? { problem: { reason: 'no free address in the network of the app' } }
    : { network, address };
}

/** Starts the new release beside the old one. Nothing here touches what serves. */
export async function startCandidate(
  attempt: Attempt,
  image: string,
  place: Place,
): Promise<{ candidate: Candidate } | { problem: Problem }> {
  const { deployment, settings, tools, log } = attempt;
  const { engine } = tools;
  await log.heading(`Starting v${deployment.number}`);
  if ('problem' in place) return place;
  const { network, address } = place;

  const facts = await engine.inspectImage(image);
  if (!facts) return { problem: imageIsGone };
  const { workingDir } = facts;
  const spec = containerSpec(attempt, { reference: image, workingDir }, network, address);
  const tooLong = tooLongToRun(spec.env);
  if (tooLong)
    return {
      problem: { reason: `${tooLong} is longer than 128 KiB, which no container can be started with` },
    };
  attempt.guard();
  const started = await engine.startContainer(spec);
  if (!started.ok) return { problem: { reason: safeText(started.reason, 150) } };

  let kept = false;
  const candidate: Candidate = {
    container: started.container,
    address,
    port: settings.port,
    release: deployment.number,
    keep: () => {
      kept = true;
    },
    [Symbol.asyncDispose]: async () => {
      // What the engine cannot do now, the sweep does later; the reason of the failure must not be lost over it.
      if (!kept) await engine.stopAndRemove(started.container, 0).catch(() => {});
    },
  };
  return { candidate };
}

const imageIsGone: Problem = {
  reason: 'its image is gone from the engine',
  hints: ['build it again: git push clever main:redeploy'],
};

/** The bridge of the app, made at its first deployment. A range that overlaps another network is given up for the next. */
async function appNetwork(attempt: Attempt): Promise<{ network: string; subnet: string }> {
  const { deployment, tools } = attempt;
  const network = `gantry-${tools.storeTag}-${deployment.app}`;
  const taken: string[] = [];
  while (taken.length < 64) {
    const subnet = await tools.allocateSubnet(deployment.app, taken);
    const marks = { [labels.store]: tools.storeId, [labels.app]: deployment.app };
    if (await tools.engine.ensureNetwork(network, subnet, marks)) return { network, subnet };
    taken.push(subnet);
  }
  throw new Error('the range in GANTRY_SUBNETS overlaps other networks of this machine; set another one');
}
