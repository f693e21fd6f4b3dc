import type { acceptedShape } from '../api/contract.ts';
import { appName, call } from './api-client.ts';
import { showLog } from './logs.ts';

type Options = { app?: string; detach?: boolean; cache?: boolean };

/** Follows the deployment to its end, as a push does; the exit code says how it ended. */
export async function deployAgain(kind: 'restart' | 'redeploy', options: Options): Promise<void> {
  const app = await appName(options.app);
  const { number } = await call<typeof acceptedShape>('POST', `/apps/${app}/deployments`, {
    kind,
    noCache: options.cache === false,
  });
  if (!options.detach) return showLog({ app: decodeURIComponent(app), deploy: String(number) });
  console.log(`deploy #${number} is queued`);
}
