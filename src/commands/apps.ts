import type { appShape, appsShape } from '../api/contract/apps.ts';
import { parseAppName } from '../domain/app.ts';
import { call, collect } from './api-client.ts';
import { printJson, printTable } from './print.ts';

export async function listApps(options: { json?: boolean; names?: boolean }): Promise<void> {
  const apps = await collect<typeof appsShape, 'apps'>('/apps', 'apps');
  if (options.json) return printJson(apps);
  // Shells expand what completes a word.
  if (options.names) return apps.forEach(({ name }) => parseAppName(name) && console.log(name));
  if (apps.length === 0) return console.error('no apps yet; the first push of one creates it');
  printTable(
    ['APP', 'LIVE', 'LATEST', 'BRANCH', 'URL'],
    apps.map((app) => [
      app.name,
      app.live === null ? '-' : `v${app.live}${app.state === 'live' ? '' : ` (${app.state})`}`,
      app.latest ? `#${app.latest.number} ${app.latest.state}` : '-',
      app.branch || '-',
      app.url,
    ]),
  );
}

export async function createApp(name: string): Promise<void> {
  const { url } = await call<typeof appShape>('POST', '/apps', { name });
  console.error(`${name} is there; once something is live: ${url}`);
}
