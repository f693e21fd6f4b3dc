import type { Engine } from '../docker/engine.ts';
import type { AppName } from '../domain/app.ts';
import { showMemory } from '../domain/app-options.ts';
import { parseAppSettings, withOptions } from '../domain/app-settings.ts';
import { type ContainerState, labels } from '../domain/container.ts';
import { type Deployment, isFinal } from '../domain/deployment.ts';
import type { Instance } from '../domain/instance.ts';
import type { Endpoint } from '../domain/route.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import { showSymptom } from './explain-unhealthy.ts';
import { healthChecks, isHealthy, probe } from './health-check.ts';

type RouteNow = {
  live: readonly Endpoint[];
  draining: readonly Endpoint[];
  missing?: { release: number; count: number };
};

export type InstanceFacts = {
  engine: Engine;
  storeId: string;
  route: (app: AppName) => Promise<RouteNow | undefined>;
  deployment: (app: AppName, number: number) => Promise<Deployment | undefined>;
  /** The variables that a release was made with. */
  env: (app: AppName, release: number) => Promise<Readonly<Record<string, string>>>;
  tcpPort: (app: AppName) => Promise<number | undefined>;
  /** Why something is missing, where that is known. */
  trouble: (app: AppName) => Promise<string | undefined>;
};

/** Less than somebody who asks waits for. */
const answerTimeoutMs = 2000;

/** Every container of the app's releases, asked now; the newest release first. */
export async function lookAtInstances(facts: InstanceFacts, app: AppName): Promise<Instance[]> {
  const containers = (await facts.engine.listContainers(`${labels.app}=${app}`)).filter(
    ({ labels: marks }) => marks[labels.store] === facts.storeId && marks[labels.task] === undefined,
  );
  const found = await Promise.all(containers.map((container) => look(facts, app, container)));
  return [...found, ...(await missingInstances(facts, app, found))].sort(
    (a, b) => b.release - a.release || a.instance - b.instance,
  );
}

/** Those of the live release that no container is there for. */
async function missingInstances(
  facts: InstanceFacts,
  app: AppName,
  found: readonly Instance[],
): Promise<Instance[]> {
  const route = await facts.route(app);
  const release = route?.missing?.release ?? route?.live[0]?.release;
  const deployment = release === undefined ? undefined : await facts.deployment(app, release);
  if (release === undefined || !deployment) return [];
  const there = found.filter((one) => one.release === release).map(({ instance }) => instance);
  const trouble = await facts.trouble(app);
  return Array.from({ length: deployment.options.instances }, (_, instance) => instance)
    .filter((instance) => !there.includes(instance))
    .map((instance) => ({
      instance,
      release,
      state: 'missing',
      detail: trouble ?? 'its container is gone; another is started',
      restarts: 0,
    }));
}

/** Counted from 0. */
export function instanceOf({ name }: Pick<ContainerState, 'name'>): number {
  return Number(/-(\d+)$/.exec(name)?.[1] ?? 0);
}

async function look(facts: InstanceFacts, app: AppName, container: ContainerState): Promise<Instance> {
  const release = Number(container.labels[labels.release]);
  const { startedAt, endedAt, memoryBytes, cpus } = container;
  const since = container.running ? startedAt : endedAt;
  const used = container.running
    ? await facts.engine.memoryUsed(container.id).catch(() => undefined)
    : undefined;
  return {
    instance: instanceOf(container),
    release,
    ...(await stateOf(facts, app, release, container)),
    ...(since && { since }),
    ...(memoryBytes !== undefined && { memoryLimit: memoryBytes }),
    ...(used !== undefined && { memoryUsed: used }),
    ...(cpus !== undefined && { cpus }),
    restarts: container.restartCount,
  };
}

async function stateOf(
  facts: InstanceFacts,
  app: AppName,
  release: number,
  container: ContainerState,
): Promise<Pick<Instance, 'state' | 'detail'>> {
  if (!container.running) return { state: 'exited', detail: howItEnded(container) };
  const route = await facts.route(app);
  const isIn = (endpoints: readonly Endpoint[] = []): boolean =>
    endpoints.some((endpoint) => endpoint.container === container.id);
  if (isIn(route?.draining)) return { state: 'draining' };
  const endpoint = route?.live.find((live) => live.container === container.id);
  const deployment = await facts.deployment(app, release);
  const isComing = (deployment && !isFinal(deployment.state)) || route?.missing?.release === release;
  if (!endpoint) return { state: isComing ? 'starting' : 'draining' };
  const parsed = parseAppSettings(await facts.env(app, release));
  if ('problems' in parsed || !deployment) return { state: 'running' };
  const settings = withOptions(parsed.settings, deployment.options, deployment.pull !== undefined);
  const { port, tcpPort = port } = endpoint;
  const hasTcp = (await facts.tcpPort(app)) !== undefined;
  const checks = healthChecks({ ...settings, port, tcpPort }, hasTcp);
  const limit = timeoutSignal(answerTimeoutMs);
  const answers = await Promise.all(
    checks.map(async (check) => ({ check, seen: await probe(endpoint.address, check, limit) })),
  );
  const wrong = answers.find(({ seen }) => !isHealthy(seen));
  return wrong
    ? { state: 'unhealthy', detail: `${wrong.check.name} -> ${showSymptom(wrong.seen)}` }
    : { state: 'running' };
}

function howItEnded({ exitCode, outOfMemory, memoryBytes }: ContainerState): string {
  if (outOfMemory) {
    const limit = memoryBytes === undefined ? '' : ` (limit ${showMemory(memoryBytes)})`;
    return `killed: out of memory${limit}`;
  }
  return exitCode === undefined ? 'it was never started' : `it exited with code ${exitCode}`;
}
