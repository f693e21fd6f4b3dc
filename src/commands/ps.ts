import type { instancesShape } from '../api/contract/apps.ts';
import { showMemory } from '../domain/app-options.ts';
import { appName, call } from './api-client.ts';
import { printJson, printTable } from './print.ts';

/** The containers of an app as they are now. */
export async function listInstances(options: { app?: string; json?: boolean }): Promise<void> {
  const app = await appName(options.app);
  const { state, instances } = await call<typeof instancesShape>('GET', `/apps/${app}/instances`);
  if (options.json) return printJson({ state, instances });
  const name = decodeURIComponent(app);
  if (state === 'stopped') console.error(`${name} is stopped: gantry start ${name}`);
  if (instances.length === 0) return console.error(`nothing of ${name} runs`);
  printTable(
    ['INSTANCE', 'RELEASE', 'STATE', 'SINCE', 'MEMORY', 'LIMIT', 'CPUS', 'RESTARTS', 'WHY'],
    instances.map(({ instance, release, memory, cpus, restarts, since, detail, ...now }) => [
      String(instance),
      `v${release}`,
      now.state,
      since === null ? '-' : `${since.slice(0, 19)}Z`,
      memory.used === null ? '-' : showMemory(memory.used),
      memory.limit === null ? 'none' : showMemory(memory.limit),
      cpus === null ? 'all' : String(cpus),
      String(restarts),
      detail ?? '',
    ]),
  );
}
