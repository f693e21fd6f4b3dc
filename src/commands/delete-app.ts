import { createInterface } from 'node:readline/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { appShape } from '../api/contract/apps.ts';
import type { volumesShape } from '../api/contract/options.ts';
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
  await confirmName(name, `deletes ${name} for good`, confirm);
  await request('DELETE', `/apps/${app}?deleteData=${deleteData}`);
  while (await isThere(`/apps/${app}`)) await sleep(250);
  console.error(`${name} is deleted`);
}

/** Throws unless `given`, or what somebody types, is the name. */
export async function confirmName(name: string, what: string, given: string | undefined): Promise<void> {
  if ((given ?? (await ask(name, what))) !== name)
    throw new UsageError(`that is not "${name}"; nothing was deleted`);
}

async function ask(name: string, what: string): Promise<string> {
  if (!process.stdin.isTTY) throw new UsageError(`this ${what}; to say that you mean it: --confirm ${name}`);
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await asking.question(`this ${what}; type its name: `)).trim();
  } finally {
    asking.close();
  }
}

export async function isThere(path: string): Promise<boolean> {
  try {
    await readPatiently<typeof appShape>(path);
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return false;
    throw error;
  }
}
