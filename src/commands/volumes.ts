import type { volumesShape } from '../api/contract/options.ts';
import { call } from './api-client.ts';
import { UsageError } from './exit-code.ts';
import { printJson, printTable } from './print.ts';

export async function listVolumes(app: string, options: { json?: boolean }): Promise<void> {
  const { volumes } = await call<typeof volumesShape>('GET', pathOf(app));
  if (options.json) return printJson(volumes);
  if (volumes.length === 0)
    return console.error(`no volumes; add one: gantry volumes add ${app} data:/path/in/the/container`);
  printTable(
    ['VOLUME', 'PATH'],
    volumes.map(({ name, path }) => [name, path ?? 'removed, its data are still there']),
  );
}

export async function addVolume(app: string, volume: string): Promise<void> {
  const colon = volume.indexOf(':');
  if (colon < 1) throw new UsageError(`"${volume}" is not NAME:/path`);
  const name = volume.slice(0, colon);
  const path = volume.slice(colon + 1);
  await call('POST', pathOf(app), { name, path });
  console.error(`${app} gets ${name} at ${path} with the next deployment: gantry restart --app ${app}
From then on a deployment stops the old container before it starts the new one (gantry apps set ${app} --swap start-first to have both write at once)`);
}

export async function removeVolume(
  app: string,
  name: string,
  options: { deleteData?: boolean },
): Promise<void> {
  const query = options.deleteData ? '?deleteData=true' : '';
  await call('DELETE', `${pathOf(app)}/${encodeURIComponent(name)}${query}`);
  console.error(
    options.deleteData
      ? `the data of ${name} are deleted once no container uses them: after the next deployment of ${app}`
      : `${app} has ${name} no more from the next deployment on; its data are kept: gantry volumes remove ${app} ${name} --delete-data deletes them`,
  );
}

function pathOf(app: string): string {
  return `/apps/${encodeURIComponent(app)}/volumes`;
}
