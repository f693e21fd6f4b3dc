import { setTimeout as sleep } from 'node:timers/promises';
import type { appShape, startShape, stopShape } from '../api/contract/apps.ts';
import { appName, call, oneOf } from './api-client.ts';
import { followDeploy } from './deploy-again.ts';

type Options = { app?: string; detach?: boolean };

const lookEveryMs = 250;
/** The drain and the grace time of a stop are settings of the server; both are minutes at most. */
const patienceMs = 600_000;

/** Resolves when nothing of the app runs any more. */
export async function stopApp(given: string | undefined, options: Options): Promise<void> {
  const app = await appName(oneOf(given, options.app));
  const name = decodeURIComponent(app);
  const { state, cancelled } = await call<typeof stopShape>('POST', `/apps/${app}/stop`);
  for (const number of cancelled) console.error(`deploy #${number} is cancelled`);
  if (options.detach && state !== 'stopped') return console.error(`${name} is being stopped`);
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const now = await call<typeof appShape>('GET', `/apps/${app}`);
    if (now.state === 'stopped')
      return console.error(
        `${name} is stopped and its visitors are told so; a push or gantry start ${name} starts it`,
      );
    if (now.state !== 'stopping') return console.error(`${name} was started again`);
    if (performance.now() > deadline) {
      process.exitCode = 9;
      return console.error(`${name} is still being stopped; is a worker running?  gantry status`);
    }
    await sleep(lookEveryMs);
  }
}

/** Follows the start to its end, as a restart is. */
export async function startApp(given: string | undefined, options: Options): Promise<void> {
  const app = await appName(oneOf(given, options.app));
  const { number, started } = await call<typeof startShape>('POST', `/apps/${app}/start`);
  if (!started) return console.error(`${decodeURIComponent(app)} runs already, as v${number}`);
  await followDeploy(app, number, options);
}
