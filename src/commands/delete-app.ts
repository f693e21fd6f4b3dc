import { createInterface } from 'node:readline/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { appShape, volumesShape } from '../api/contract.ts';
import { call, readPatiently, request } from './api-client.ts';
import { ApiError, UsageError } from './exit-code.ts';

type Options = { confirm?: string; deleteData?: boolean };

/** Deletes an app for good, once whoever asks has typed its name. Ends when nothing is left of it. */
export async function deleteApp(name: string, { confirm, deleteData = false }: Options): Promise<void> {
  const app = encodeURIComponent(name);
  await call<typeof appShape>('GET', `/apps/${app}`);
  const { volumes } = await call<typeof volumesShape>('GET', `/apps/${app}/volumes`);
  const names = volumes.map((volume) => volume.name).join(', ');
  if (volumes.length > 0)
    console.error(
      deleteData ? `deletes the data of its volumes: ${names}` : `keeps the data of its volumes: ${names}`,
    );
  if ((confirm ?? (await ask(name))) !== name)
    throw new UsageError(`that is not "${name}"; nothing was deleted`);
  await request('DELETE', `/apps/${app}?deleteData=${deleteData}`);
  while (await isThere(app)) await sleep(250);
  console.error(`${name} is deleted`);
}

async function ask(name: string): Promise<string> {
  if (!process.stdin.isTTY)
    throw new UsageError(`this deletes ${name} for good; to say that you mean it: --confirm ${name}`);
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await asking.question(`this deletes ${name} for good; type its name: `)).trim();
  } finally {
    asking.close();
  }
}

async function isThere(app: string): Promise<boolean> {
  try {
    await readPatiently<typeof appShape>(`/apps/${app}`);
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return false;
    throw error;
  }
}
