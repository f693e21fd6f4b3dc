import type { tcpListShape, tcpShape } from '../api/contract/networks.ts';
import { appName, call, collect, request } from './api-client.ts';
import { printJson, printTable } from './print.ts';

type Options = { app?: string; json?: boolean };

export async function enableTcp(options: Options): Promise<void> {
  const tcp = await call<typeof tcpShape>('PUT', `/apps/${await appName(options.app)}/tcp`);
  if (options.json) return printJson(tcp);
  console.log(`port ${tcp.port}`);
  console.error(
    `connections to port ${tcp.port} reach ${tcp.app} on 4040, or what CC_DOCKER_EXPOSED_TCP_PORT says`,
  );
}

export async function disableTcp(options: Options): Promise<void> {
  const app = await appName(options.app);
  await request('DELETE', `/apps/${app}/tcp`);
  console.error(`${app} has no TCP port any more`);
}

export async function listTcp(options: Options): Promise<void> {
  const tcp = await collect<typeof tcpListShape, 'tcp'>('/tcp', 'tcp');
  if (options.json) return printJson(tcp);
  printTable(
    ['APP', 'PORT'],
    tcp.map(({ app, port }) => [app, String(port)]),
  );
}
