import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** All that is in a data folder: Redis' files included; sockets have no content. */
export async function everyFile(folder: string): Promise<string> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  const texts = entries
    .filter((entry) => entry.isFile())
    .map((entry) => readFile(join(entry.parentPath, entry.name), 'latin1').catch(() => ''));
  return (await Promise.all(texts)).join('');
}
