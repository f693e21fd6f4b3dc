import { setTimeout as sleep } from 'node:timers/promises';
import type { Failpoint } from '../../src/failpoint.ts';
import type { GitResult } from '../support/git.ts';
import { areCounted, countedDeploys } from '../support/onlooker.ts';
import { until } from '../support/rig.ts';
import { Visitors } from '../support/visitor.ts';
import type { Fault } from './faults.ts';
import type { Deployment, Stage, Way } from './stage.ts';
import { liveNumber, type Subject } from './subjects.ts';

export type Scene = { way: Way; failpoint: Failpoint; fault: Fault };

/** What came of it. `broken`: a sentence for every promise that was not kept. */
export type Outcome = {
  scene: Scene;
  state: string;
  broken: string[];
  /** From the fault until everything was as it should be. */
  recoveryMs: number;
  requests: number;
  failed: number;
};

/** Of each stage; there are several, and they are to keep the machine for what is tried. */
const perSecond = 25;
const lookEveryMs = 250;
const isFinal = ({ state }: Deployment): boolean => state !== 'queued' && state !== 'running';

/**
 * Asks for a new version, lets the fault happen when a process comes to the failpoint, and holds all that is seen against
 * what is promised. Throws soon after the signal, with the harm taken back.
 */
export async function play(stage: Stage, scene: Scene, signal: AbortSignal): Promise<Outcome> {
  const { failpoint, fault } = scene;
  const { rig, failpoints } = stage;
  const subject = stage.subject(scene.way);
  const { app } = subject;
  const before = await subject.answer();
  const known = await stage.deployments(app);
  const counted = { server: rig.pid, deploys: await countedDeploys(rig) };
  const { version, commit } = await subject.newVersion();
  await using visitors = subject.serves
    ? new Visitors(rig.httpPort, `${app}.localhost`, perSecond)
    : undefined;
  const broken: string[] = [];
  /** Waits for what is promised; notes when it does not come. */
  const expect = async (what: string, check: () => Promise<boolean>, limitMs = 60_000): Promise<void> => {
    const checked = async (): Promise<boolean> => {
      signal.throwIfAborted();
      return check().catch(() => false); // whoever is asked may be away
    };
    await until(what, checked, limitMs, lookEveryMs).catch(() => {
      signal.throwIfAborted();
      broken.push(what);
    });
  };

  failpoints.arm(failpoint);
  const push = subject.deploy();
  const pushOrAfter = async (ms: number): Promise<GitResult | undefined> => {
    const isOver = new AbortController();
    const tooLong = sleep(ms, undefined, { signal: AbortSignal.any([signal, isOver.signal]) });
    return Promise.race([push, tooLong]).finally(() => isOver.abort());
  };
  await expect(`a process comes to "${failpoint}"`, async () => failpoints.reachedBy !== undefined, 90_000);
  const began = performance.now();
  {
    await using _harm = await fault.inflict(stage, failpoints.reachedBy ?? 0, signal);
    failpoints.release();
    // Whatever is asked for here has an end, also while the harm lasts.
    await pushOrAfter(15_000);
  }
  const pushed = await pushOrAfter(90_000);
  if (!pushed) broken.push('the push has no end');

  const ours = async (): Promise<Deployment[]> =>
    (await stage.deployments(app)).filter(({ number }) => !known.some((one) => one.number === number));
  await expect('every deployment ends', async () => (await ours()).every(isFinal), 90_000);
  const made = await ours().catch(() => []);
  const deployment = made[0];
  const isLive = deployment?.state === 'live';
  await expect(
    isLive ? 'the new version answers' : 'the old version answers',
    async () => (await subject.answer()) === (isLive ? version : before),
  );
  if (commit !== undefined)
    await expect('the branch is what is live', async () => ((await stage.branch(app)) === commit) === isLive);
  await expect(
    'the app is said to be what it is',
    async () => ((await liveNumber(rig, app)) === deployment?.number) === isLive,
  );
  const recoveryMs = performance.now() - began;

  broken.push(...wrongEnds(scene, made), ...wrongVerdicts(scene, pushed, deployment));
  if (deployment) {
    broken.push(...(await wrongLog(stage, app, deployment)));
    await expect('webhooks are told its end, once', async () => isTold(stage, app, deployment));
  }
  await expect(`nothing is left over`, async () => (await stage.leftovers()).length === 0);
  if (broken.includes('nothing is left over')) broken.push(...(await stage.leftovers().catch(() => [])));
  const times = await subject.timesRun?.(version);
  if (times !== undefined && (isLive ? times !== 1 : times > 1)) broken.push(`it ran ${times} times`);
  // What the deployment itself says of it.
  if (broken.length > 0 && deployment) broken.push(await lastOfLog(stage, app, deployment));
  if (!isLive) broken.push(...(await nextDeployment(subject)));
  // A server counts what ended since it started.
  if (rig.pid === counted.server) {
    await expect('the metrics count it once', async () => areCounted(rig, counted.deploys, await ours()));
    if (broken.includes('the metrics count it once'))
      broken.push(`before: ${shown(counted.deploys)}`, `after: ${shown(await countedDeploys(rig))}`);
  }
  await visitors?.leave();
  const failures = visitors?.failures ?? [];
  if (failures.length > (fault.outage ?? 0) * perSecond)
    broken.push(`${failures.length} requests failed: ${[...new Set(failures)].slice(0, 3).join('; ')}`);

  return {
    scene,
    state: deployment
      ? `${deployment.state}${deployment.reason ? `: ${deployment.reason}` : ''}`
      : 'not taken',
    broken,
    recoveryMs,
    requests: visitors?.requests ?? 0,
    failed: failures.length,
  };
}

function shown(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([what, count]) => `${what} ${count}`).join(', ');
}

/** P1, P4: one end, and a failure only where the fault leaves no other way. */
function wrongEnds({ fault, failpoint }: Scene, made: readonly Deployment[]): string[] {
  const mayFail = fault.mayFail?.(failpoint) ?? false;
  if (made.length > 1) return [`it became ${made.length} deployments`];
  const [deployment] = made;
  if (!deployment) return mayFail ? [] : ['the deployment is lost'];
  if (deployment.state === 'live') return [];
  return mayFail ? [] : [`the deployment is ${deployment.state}: ${deployment.reason}`];
}

/** P5, P6: the push says what became of it, or why nothing did. */
function wrongVerdicts(
  { fault, failpoint }: Scene,
  pushed: GitResult | undefined,
  deployment: Deployment | undefined,
): string[] {
  if (!pushed) return [];
  const said = pushed.stdout + pushed.stderr;
  if (fault.cutsPush?.(failpoint, said)) return [];
  const isLive = deployment?.state === 'live';
  if ((pushed.code === 0) !== isLive) return [`whoever asked was told ${pushed.code}: ${said.slice(-300)}`];
  return isLive || /rejected|error|fatal/.test(said) ? [] : [`whoever asked was not told why: ${said}`];
}

async function wrongLog({ rig }: Stage, app: string, { number, state }: Deployment): Promise<string[]> {
  const log = await rig.gantry('logs', '--app', app, '--deploy', String(number));
  return (log.code === 0) === (state === 'live')
    ? []
    : [`the log of #${number}, which is ${state}, ends with ${log.code}`];
}

async function lastOfLog({ rig }: Stage, app: string, { number }: Deployment): Promise<string> {
  const { stdout } = await rig.gantry('logs', '--app', app, '--deploy', String(number));
  return `the end of its log:\n${stdout.slice(-1500)}`;
}

function isTold({ onlooker }: Stage, app: string, { number, state }: Deployment): boolean {
  if (!onlooker) return true;
  const types = onlooker.endsOf(app, number).map(({ type }) => type);
  return types.join() === (state === 'live' ? 'deploy.succeeded' : `deploy.${state}`);
}

async function nextDeployment(subject: Subject): Promise<string[]> {
  const { version } = await subject.newVersion();
  const { code, stdout, stderr } = await subject.deploy();
  if (code !== 0) return [`the next deployment failed: ${(stdout + stderr).slice(-300)}`];
  return (await subject.answer()) === version ? [] : ['the next deployment does not answer'];
}
