import type { whoamiShape } from '../api/contract/accounts.ts';
import type { readinessShape, statusShape } from '../api/contract/server.ts';
import { safeText } from '../domain/safe-text.ts';
import { call, findServer } from './api-client.ts';
import { printJson } from './print.ts';

/** Whether the server can deploy and serve now; administrators learn what is in the way. Exits with 8 when it cannot. */
export async function status(options: { json?: boolean }): Promise<void> {
  const { url } = await findServer();
  const found = await call<typeof statusShape>('GET', '/status');
  const checks = (await isAdmin()) ? (await call<typeof readinessShape>('GET', '/readiness')).checks : {};
  if (!found.ready) process.exitCode = 8;
  if (options.json) return printJson({ url, ...found, checks });
  const { version, ready, apps, running, queued, troubles } = found;
  const deploying =
    running + queued === 0 ? 'nothing is deployed now' : `${running} deploying, ${queued} waiting`;
  console.log(
    `gantry ${version} at ${url} is ${ready ? 'ready' : 'not ready'}: ${apps} ${apps === 1 ? 'app' : 'apps'}, ${deploying}`,
  );
  for (const { app, reason } of troubles) console.log(`${app}: ${safeText(reason, 300)}`);
  for (const [name, state] of Object.entries(checks)) console.log(`${name.padEnd(8)} ${state}`);
}

async function isAdmin(): Promise<boolean> {
  return (await call<typeof whoamiShape>('GET', '/whoami')).scopes.includes('admin');
}
