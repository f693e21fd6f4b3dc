import { createReadStream } from 'node:fs';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type Pack, pack } from 'tar-stream';
import { type IgnoreRules, parseIgnoreRules } from './ignore-rules.ts';

type IgnoreFile = { path: string; rules: IgnoreRules | undefined };

/**
 * The checkout as a tar, without what .dockerignore excludes: the engine does not apply that file to a tar. A stream
 * that fails is destroyed instead of ended, since the engine builds a tar that ends early without a complaint.
 */
export async function packContext(
  contextDir: string,
  dockerfile: string,
): Promise<{ ok: true; tar: Readable } | { ok: false; reason: string }> {
  const ignoreFile = await readIgnoreFile(contextDir, dockerfile);
  if (ignoreFile.rules === undefined) {
    return { ok: false, reason: `${ignoreFile.path} has a pattern that cannot be read` };
  }
  const tar = pack({ highWaterMark: 256 * 1024 });
  const walk = new ContextWalk(contextDir, ignoreFile.rules, new Set([dockerfile, ignoreFile.path]), tar);
  walk.run().then(
    () => tar.finalize(),
    (error: unknown) => tar.destroy(error instanceof Error ? error : new Error(String(error))),
  );
  return { ok: true, tar: Readable.from(tar, { objectMode: false }) };
}

async function readIgnoreFile(contextDir: string, dockerfile: string): Promise<IgnoreFile> {
  for (const path of [`${dockerfile}.dockerignore`, '.dockerignore']) {
    const text = await readFile(join(contextDir, path), 'utf8').catch(undefinedWhenMissing);
    if (text !== undefined) return { path, rules: parseIgnoreRules(text) };
  }
  return { path: '.dockerignore', rules: { excludes: () => false, hasExceptions: false } };
}

function undefinedWhenMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR' || error.code === 'EISDIR') return undefined;
  throw error;
}

type Header = Parameters<Pack['entry']>[0];
type Sink = ReturnType<Pack['entry']>;

class ContextWalk {
  readonly #root: string;
  readonly #rules: IgnoreRules;
  /** Sent even when excluded: the builder itself needs them. */
  readonly #kept: ReadonlySet<string>;
  readonly #tar: Pack;

  constructor(root: string, rules: IgnoreRules, kept: ReadonlySet<string>, tar: Pack) {
    this.#root = root;
    this.#rules = rules;
    this.#kept = kept;
    this.#tar = tar;
  }

  async run(folder = ''): Promise<void> {
    const names = await readdir(join(this.#root, folder));
    for (const name of names.sort()) {
      if (name === '.git') continue;
      await this.#add(folder === '' ? name : `${folder}/${name}`);
    }
  }

  async #add(path: string): Promise<void> {
    const isIncluded = this.#kept.has(path) || !this.#rules.excludes(path);
    const stats = await lstat(join(this.#root, path));
    const header = { name: path, mode: stats.mode & 0o7777, mtime: stats.mtime };
    if (stats.isDirectory()) {
      if (isIncluded) await this.#entry({ ...header, type: 'directory' });
      if (isIncluded || this.#mayHoldIncluded(path)) await this.run(path);
    } else if (!isIncluded) {
      return;
    } else if (stats.isSymbolicLink()) {
      await this.#entry({ ...header, type: 'symlink', linkname: await readlink(join(this.#root, path)) });
    } else if (stats.isFile()) {
      await this.#file({ ...header, type: 'file', size: stats.size });
    }
  }

  #mayHoldIncluded(folder: string): boolean {
    return this.#rules.hasExceptions || [...this.#kept].some((path) => path.startsWith(`${folder}/`));
  }

  async #entry(header: Header): Promise<void> {
    await this.#whenWritten((done) =>
      header.type === 'file' ? this.#tar.entry(header, Buffer.alloc(0), done) : this.#tar.entry(header, done),
    );
  }

  async #file(header: Header & { size: number }): Promise<void> {
    if (header.size === 0) return this.#entry(header);
    await this.#whenWritten((done) => {
      const sink = this.#tar.entry(header, done);
      // The size in the header is binding, so a file that grows meanwhile is cut and one that shrinks is an error.
      const source = createReadStream(join(this.#root, header.name), {
        end: header.size - 1,
        highWaterMark: 256 * 1024,
      });
      source.on('error', (error) => sink.destroy(error));
      sink.on('close', () => source.destroy());
      source.pipe(sink);
      return sink;
    });
  }

  async #whenWritten(write: (done: (error?: Error | null) => void) => Sink): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      // The callback tells of an error too; as an event without a listener it would end the process.
      write((error) => (error ? reject(error) : resolve())).on('error', reject);
    });
  }
}
