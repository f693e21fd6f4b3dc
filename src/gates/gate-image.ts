import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { type Pack, pack } from 'tar-stream';

/** Made of what is on this machine anyway, because no registry may be in reach: this Node, its libraries and our program. */
export type GateImage = { tag: string; command: readonly string[]; tar: () => Readable };

const program = fileURLToPath(new URL('../gate/', import.meta.url));

type File = { name: string; path: string; bytes: number; mode: number };

/** No name of an app has a dot, so that no app can come to have this repository. */
export function gateRepository(storeTag: string): string {
  return `gantry-${storeTag}/internal.gate`;
}

export async function gateImage(storeTag: string): Promise<GateImage> {
  const node = await realpath(process.execPath);
  const scripts = (await readdir(program)).filter((name) => name.endsWith('.js'));
  const files = await Promise.all([
    ...[node, ...(await librariesOf(node))].map((path) => fileAt(path, path.slice(1), 0o755)),
    ...scripts.map((name) => fileAt(join(program, name), `gate/${name}`, 0o644)),
  ]);
  const hash = createHash('sha256').update(process.version);
  for (const { name, bytes } of files) hash.update(`${name} ${bytes}\n`);
  for (const name of scripts.toSorted()) hash.update(await readFile(join(program, name)));
  return {
    tag: `${gateRepository(storeTag)}:${hash.digest('hex').slice(0, 16)}`,
    command: [node, '--max-old-space-size=64', '/gate/gate.js'],
    tar: () => {
      const tar = pack();
      fill(tar, files).then(
        () => tar.finalize(),
        (error: unknown) => tar.destroy(error instanceof Error ? error : new Error(String(error))),
      );
      return Readable.from(tar, { objectMode: false });
    },
  };
}

async function fill(tar: Pack, files: readonly File[]): Promise<void> {
  tar.entry({ name: 'gate/package.json' }, '{"type":"module"}');
  tar.entry({ name: 'gate/state', type: 'directory', uid: 65534, gid: 65534, mode: 0o700 });
  for (const { name, path, bytes, mode } of files)
    await pipeline(createReadStream(path), tar.entry({ name, size: bytes, mode }));
}

async function fileAt(path: string, name: string, mode: number): Promise<File> {
  return { name, path, bytes: (await stat(path)).size, mode };
}

/** As the loader would look for them; none for a program that needs none. */
function librariesOf(path: string): Promise<string[]> {
  return new Promise((resolve) => {
    execFile('ldd', [path], (_, output) =>
      resolve(
        [...output.matchAll(/\/[^ \n]+/g)]
          .map(([found]) => found)
          .filter((found) => basename(found).includes('.so')),
      ),
    );
  });
}
