import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from 'zod';
import type { cancelShape, deploymentShape, deploymentsShape } from '../api/contract/deployments.ts';
import { shortSha } from '../domain/app.ts';
import { showEnvChanges } from '../domain/env-changes.ts';
import { showImageSource } from '../domain/image-reference.ts';
import { safeText } from '../domain/safe-text.ts';
import { appName, call, collect, readPatiently } from './api-client.ts';
import { readNumber } from './deploy-again.ts';
import { ApiError, UsageError } from './exit-code.ts';
import { printJson, printTable } from './print.ts';

type ShownDeployment = z.infer<typeof deploymentShape>;

export async function listDeploys(options: { app?: string; limit?: string; json?: boolean }): Promise<void> {
  const limit = Number(options.limit ?? 20);
  if (!Number.isInteger(limit) || limit < 1) throw new UsageError('--limit is a number from 1 on');
  const path = `/apps/${await appName(options.app)}/deployments`;
  const deployments = await collect<typeof deploymentsShape, 'deployments'>(path, 'deployments', limit);
  if (options.json) return printJson(deployments);
  printTable(
    ['DEPLOY', 'STATE', 'TRIGGER', sourceHead(deployments), 'BY', 'WHEN', 'TOOK', 'WHAT'],
    deployments.map((deployment) => [
      `#${deployment.number}`,
      deployment.state,
      triggerOf(deployment),
      sourceOf(deployment),
      deployment.by,
      deployment.createdAt,
      secondsOf(deployment.took),
      deployment.crash ?? deployment.reason ?? deployment.subject,
    ]),
  );
}

export async function showDeploy(text: string, options: { app?: string; json?: boolean }): Promise<void> {
  const app = await appName(options.app);
  const number = readNumber(text);
  const deployment = await call<typeof deploymentShape>('GET', `/apps/${app}/deployments/${number}`);
  if (options.json) return printJson(deployment);
  for (const [name, value] of rows(deployment)) console.log(`${name.padEnd(10)} ${safeText(value, 500)}`);
  const name = decodeURIComponent(app);
  console.error(
    `log: gantry logs --app ${name} --deploy ${number}${isFailed(deployment) ? `   retry: gantry deploys retry ${number} --app ${name}` : ''}`,
  );
}

function rows(deployment: ShownDeployment): [string, string][] {
  const { number, state, step, reason, supersededBy, by, commit, image, subject, branch, env, runs } =
    deployment;
  const all: [string, string | null][] = [
    ['deploy', `#${number}`],
    ['state', state],
    ['step', step],
    ['reason', reason],
    ['then', deployment.crash],
    ['by newer', supersededBy === null ? null : `#${supersededBy}`],
    ['trigger', triggerOf(deployment)],
    ['by', by],
    ['commit', commit],
    ['image', image && image.reference],
    ['digest', image && image.digest],
    ['subject', subject],
    ['branch', branch],
    ['variables', env && (showEnvChanges(env) || 'as before')],
    ['asked', deployment.createdAt],
    ['began', deployment.startedAt],
    ['ended', deployment.endedAt],
    ['waited', secondsOf(deployment.waited)],
    ['took', deployment.took === null ? null : secondsOf(deployment.took)],
    ['workers', runs > 1 ? `${runs}: it began again after a worker was lost` : null],
  ];
  return all.filter((row): row is [string, string] => row[1] !== null && row[1] !== '');
}

/** What stands above `sourceOf`. */
export function sourceHead(all: readonly Pick<ShownDeployment, 'image'>[]): string {
  return all.some(({ image }) => image !== null) ? 'COMMIT OR IMAGE' : 'COMMIT';
}

/** In a word: where it comes from. */
export function sourceOf({ commit, image }: Pick<ShownDeployment, 'commit' | 'image'>): string {
  return image ? showImageSource({ ...image, digest: image.digest ?? undefined }) : shortSha(commit);
}

function triggerOf({ trigger, rollbackTo }: ShownDeployment): string {
  return rollbackTo === null ? trigger : `${trigger} to v${rollbackTo}`;
}

function isFailed({ state }: ShownDeployment): boolean {
  return state === 'failed' || state === 'cancelled' || state === 'superseded';
}

function secondsOf(seconds: number | null): string {
  return seconds === null ? '' : `${seconds.toFixed(1)}s`;
}

/** Ends when the deployment has. One that is past its switch cannot be cancelled. */
export async function cancelDeploy(text: string, options: { app?: string }): Promise<void> {
  const number = readNumber(text);
  const path = `/apps/${await appName(options.app)}/deployments/${number}`;
  const { result } = await call<typeof cancelShape>('POST', `${path}/cancel`, {});
  if (result === 'too late')
    throw new ApiError(
      409,
      `deploy #${number} has ended or is past its switch; it cannot be cancelled`,
      'too late for that: gantry rollback brings the release before back',
    );
  if (result === 'asked') console.error(`deploy #${number} was asked to stop`);
  for (;;) {
    const { state, reason } = await readPatiently<typeof deploymentShape>(path);
    if (state === 'cancelled') break;
    if (state !== 'queued' && state !== 'running')
      throw new ApiError(409, `deploy #${number} ended before it could be cancelled: ${reason ?? state}`);
    await sleep(250);
  }
  console.error(`deploy #${number} is cancelled`);
}
