import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Repositories } from '../git/repositories.ts';
import type { StoredKey } from '../store/snapshot.ts';
import type { BackupWriter } from './archive.ts';

/** So much of the store in one file of the backup, which is also what a restore has in memory. */
const pageBytes = 4 * 1024 ** 2;

type Line = { key: string; value: string; expiresInMs?: number | undefined };

export async function addStore(writer: BackupWriter, stored: StoredKey[]): Promise<void> {
  let [page, bytes, number] = ['', 0, 0];
  const write = async (): Promise<void> => {
    await writer.text(`store/${String(++number).padStart(6, '0')}`, page);
    [page, bytes] = ['', 0];
  };
  for (const { key, value, expiresInMs } of stored) {
    const line: Line = { key, value: value.toString('base64'), expiresInMs };
    page += `${JSON.stringify(line)}\n`;
    bytes += value.length;
    if (bytes >= pageBytes) await write();
  }
  if (page !== '') await write();
}

/** `passedMs`: since the backup was made. What has expired in that time is left out. */
export function readStorePage(text: string, passedMs: number): StoredKey[] {
  return text.split('\n').flatMap((json) => {
    if (json === '') return [];
    const { key, value, expiresInMs } = JSON.parse(json) as Line;
    const left = expiresInMs === undefined ? undefined : Math.round(expiresInMs - passedMs);
    return left !== undefined && left <= 0
      ? []
      : [{ key, value: Buffer.from(value, 'base64'), expiresInMs: left }];
  });
}

/**
 * All repositories while people push: first the refs, then the objects, none of which git ever changes or, with us,
 * removes. Whatever a ref of the backup needs is therefore in it.
 */
export async function addRepositories(writer: BackupWriter, repositories: Repositories): Promise<number> {
  const apps = await repositories.list();
  for (const app of apps) {
    const repository = repositories.open(app);
    const name = `git/${app}.git`;
    await writer.text(`${name}/packed-refs`, await repository.packedRefs());
    for (const file of ['HEAD', 'config', 'shallow'])
      await writer.file(`${name}/${file}`, join(repository.path, file));
    const objects = join(repository.path, 'objects');
    await addFolder(writer, `${name}/objects`, objects, (path) => !/(^|\/)(tmp_|incoming)/.test(path));
  }
  return apps.length;
}

/** All files below, as long as they are now. */
export async function addFolder(
  writer: BackupWriter,
  name: string,
  folder: string,
  isWanted: (path: string) => boolean = () => true,
): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  for (const entry of entries) {
    const [inside, path] = [`${name}/${entry.name}`, join(folder, entry.name)];
    if (!isWanted(entry.name)) continue;
    if (entry.isDirectory()) await addFolder(writer, inside, path, isWanted);
    else if (entry.isFile()) await writer.file(inside, path);
  }
}
