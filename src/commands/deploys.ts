import type { cancelShape, deploymentsShape } from '../api/contract.ts';
import { shortSha } from '../domain/app.ts';
import { appName, call } from './api-client.ts';
import { ApiError } from './exit-code.ts';
import { printJson, printTable } from './print.ts';

export async function listDeploys(options: { app?: string; json?: boolean }): Promise<void> {
  const { deployments } = await call<typeof deploymentsShape>(
    'GET',
    `/apps/${await appName(options.app)}/deployments`,
  );
  if (options.json) return printJson(deployments);
  printTable(
    ['DEPLOY', 'STATE', 'COMMIT', 'BY', 'WHEN', 'WHAT'],
    deployments.map(({ number, state, commit, by, createdAt, reason, subject }) => [
      `#${number}`,
      state,
      shortSha(commit),
      by,
      createdAt,
      reason ?? subject,
    ]),
  );
}

export async function cancelDeploy(number: string, options: { app?: string }): Promise<void> {
  const path = `/apps/${await appName(options.app)}/deployments/${encodeURIComponent(number)}/cancel`;
  const { result } = await call<typeof cancelShape>('POST', path, {});
  if (result === 'too late')
    throw new ApiError(409, `deploy #${number} has ended or is past its switch; it cannot be cancelled`);
  console.error(
    result === 'cancelled' ? `deploy #${number} is cancelled` : `deploy #${number} was asked to stop`,
  );
}
