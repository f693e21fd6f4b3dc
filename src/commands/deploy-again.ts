import { setTimeout as sleep } from 'node:timers/promises';
import type { acceptedShape, rollbackShape } from '../api/contract/deployments.ts';
import { appName, call, oneOf } from './api-client.ts';
import { ApiError, UsageError } from './exit-code.ts';
import { connectionBroke, showLog } from './logs.ts';

type Options = { app?: string; detach?: boolean; cache?: boolean };

/** Follows the deployment to its end, as a push does; the exit code says how it ended. */
export async function deployAgain(
  kind: 'restart' | 'redeploy',
  options: Options,
  given?: string,
): Promise<void> {
  const app = await appName(oneOf(given, options.app));
  const { number } = await call<typeof acceptedShape>('POST', `/apps/${app}/deployments`, {
    kind,
    noCache: options.cache === false,
  });
  await followDeploy(app, number, options);
}

/** Brings an earlier release back: by default the one that was live before. */
export async function rollBack(version: string | undefined, options: Options): Promise<void> {
  if (version !== undefined && !/^v?[1-9]\d{0,8}$/.test(version))
    throw new UsageError(`"${version}" is no release: write v12 (gantry releases lists them)`);
  const app = await appName(options.app);
  const path = `/apps/${app}/releases/${version ?? 'previous'}/rollback`;
  const { number } = await call<typeof rollbackShape>('POST', path);
  await followDeploy(app, number, options);
}

/** Deploys the commit of an earlier deployment again. */
export async function retryDeploy(text: string, options: Options): Promise<void> {
  const app = await appName(options.app);
  const path = `/apps/${app}/deployments/${readNumber(text)}/retry`;
  const { number } = await call<typeof acceptedShape>('POST', path);
  await followDeploy(app, number, options);
}

/** `44` or `#44`. */
export function readNumber(text: string): string {
  const number = /^#?([1-9]\d{0,8})$/.exec(text)?.[1];
  if (number === undefined)
    throw new UsageError(`"${text}" is no number of a deploy (gantry deploys lists them)`);
  return number;
}

/** Redis is started anew within this. */
const outageLimitMs = 15_000;

/** It is accepted: a store that is away for a moment, so that its log cannot be asked for, does not end that. */
export async function followDeploy(app: string, number: number, options: Options): Promise<void> {
  if (options.detach) return console.log(`deploy #${number} is queued`);
  const deadline = performance.now() + outageLimitMs;
  for (;;) {
    try {
      return await showLog({ app: decodeURIComponent(app), deploy: String(number) });
    } catch (error) {
      if (!(error instanceof ApiError) || (error.status !== 0 && error.status !== 503)) throw error;
      if (error.status === 0 || performance.now() > deadline) throw connectionBroke(app, String(number));
      await sleep(250);
    }
  }
}
