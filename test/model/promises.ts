import type { AppName } from '../../src/domain/app.ts';
import { labels } from '../../src/domain/container.ts';
import { type Deployment, isFinal } from '../../src/domain/deployment.ts';
import { showImageSource } from '../../src/domain/image-reference.ts';
import { keys } from '../../src/store/keys.ts';
import { engineKeys, type ScriptedContainer } from './scripted-engine.ts';
import type { Finale, World } from './world.ts';

export async function everyDeployment(world: World, app: AppName): Promise<Deployment[]> {
  return (await world.stores.deployments.list(app, 100_000)).toReversed();
}

/** P4: one end each, the same in the record, the log and what is told; the superseded say by whom. */
export async function wrongEnds(
  world: World,
  app: AppName,
  told: ReadonlyMap<string, string[]>,
): Promise<string[]> {
  const wrong: string[] = [];
  for (const { number, state, supersededBy, reason } of await everyDeployment(world, app)) {
    const name = `#${number} of ${app} (${state})`;
    if (!isFinal(state)) wrong.push(`${name} has not ended`);
    const log = await world.redis.xrange(keys.log(app, number), '-', '+');
    const ends = log.flatMap(([, [field, value]]) => (field === 'end' ? [value] : []));
    if (ends.join() !== state) wrong.push(`${name}: its log ends with [${ends.join()}]`);
    if (log.at(-1)?.[1][0] !== 'end') wrong.push(`${name}: its log goes on after its end`);
    const ofIt = told.get(`${app} ${number}`) ?? [];
    const finals = ofIt.filter((one) => one !== 'queued' && one !== 'running' && one !== 'release crashed');
    if (finals.join() !== state) wrong.push(`${name}: told as [${finals.join()}]`);
    if (ofIt.filter((one) => one === 'queued').length !== 1)
      wrong.push(`${name}: told as queued [${ofIt.join()}]`);
    if (state === 'superseded' && !((supersededBy ?? 0) > number)) wrong.push(`${name} by ${supersededBy}`);
    if (state !== 'live' && !reason) wrong.push(`${name} gives no reason`);
  }
  return wrong;
}

/** P2 and P3: what serves is the newest that went live, which is what was asked for last; nothing older came back. */
export async function wrongService(world: World, app: AppName, last: Finale): Promise<string[]> {
  const wrong: string[] = [];
  const { apps, deployments, routes } = world.stores;
  const [found, desired, route] = await Promise.all([
    apps.get(app),
    deployments.desired(app),
    routes.get(app),
  ]);
  const history = world.served.get(app) ?? [];
  const isRising = history.every((release, index) => index === 0 || release > (history[index - 1] ?? 0));
  if (!isRising) wrong.push(`${app}: served ${history.join(', ')}`);
  const serving = (route?.live ?? []).map(({ release }) => release);
  if (last.isStopped) {
    if (found?.stopped?.isDone !== true || serving.length > 0)
      wrong.push(`${app} was stopped last, but v${serving.join()} is routed to`);
    return wrong;
  }
  if (desired?.number !== last.number || desired?.state !== 'live')
    wrong.push(
      `${app}: #${last.number} was asked for last, #${desired?.number} is ${desired?.state} (${desired?.reason})`,
    );
  if (found?.stopped) wrong.push(`${app} is stopped`);
  if (found?.live !== desired?.number) wrong.push(`${app}: v${found?.live} is live, not v${desired?.number}`);
  if (serving.join() !== String(found?.live))
    wrong.push(`${app}: v${serving.join()} is routed to, v${found?.live} live`);
  const ids = new Set(route?.live.map(({ container }) => container));
  for (const { id, name, env, labels: marks } of await containers(world)) {
    if (!ids.has(id)) continue;
    if (marks[labels.release] !== String(found?.live)) wrong.push(`${app}: ${name} serves v${found?.live}`);
    if (env.COLOUR !== last.colour) wrong.push(`${app}: ${name} has variables of another time`);
    if (marks[labels.image] !== (desired?.pull && showImageSource(desired.pull)))
      wrong.push(`${app}: ${name} is ${marks[labels.image]}, not ${desired?.pull?.digest}`);
  }
  return wrong;
}

async function containers(world: World): Promise<ScriptedContainer[]> {
  const texts = await world.redis.hvals(engineKeys.containers);
  return texts.map((text) => JSON.parse(text) as ScriptedContainer);
}

/** P11. */
export async function wrongContainers(world: World): Promise<string[]> {
  const there = await containers(world);
  const routes = await world.stores.routes.stored();
  const served = new Set(routes.flatMap(({ live }) => live.map(({ container }) => container)));
  const wrong = there
    .filter(({ id }) => !served.has(id))
    .map(({ name, labels: marks }) => `${name} of ${marks[labels.app]} is left`);
  const missing = [...served].filter((id) => !there.some((container) => container.id === id));
  return [...wrong, ...missing.map((id) => `${id} is missing`)];
}
