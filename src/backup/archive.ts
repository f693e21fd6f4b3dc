import { createHash, createHmac, type Hash, timingSafeEqual } from 'node:crypto';
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { extract, type Pack, pack } from 'tar-stream';

/** The first file of a backup. */
export type Manifest = {
  format: 1;
  /** Of the Gantry that wrote it. */
  version: string;
  schema: number;
  storeId: string;
  takenAt: string;
  redis: string;
  /** Id of each sealing key to a mark that only this key makes. */
  keys: Record<string, string>;
};

const first = 'manifest.json';
const last = 'end.json';
const chunkBytes = 256 * 1024;
const largestText = 64 * 1024;

type Entry = ReturnType<typeof extract> extends AsyncIterable<infer Each> ? Each : never;

/** What only the holder of the key can have written: over everything in the backup, and for a key over its own id. */
export function sign(key: Buffer, text: string): string {
  return createHmac('sha256', key).update(`gantry backup ${text}`).digest('hex');
}

/**
 * A backup as a tar: a manifest, files, and at the end a signature over all of it under the sealing key. Without that end it
 * is not whole, and one that was changed does not fit it.
 */
export class BackupWriter {
  readonly #tar: Pack = pack({ highWaterMark: chunkBytes });
  readonly #hash: Hash = createHash('sha256');
  readonly #key: Buffer;
  #bytes = 0;

  constructor(key: Buffer) {
    this.#key = key;
  }

  /** To be read while files are added. */
  get stream(): Readable {
    return this.#tar as unknown as Readable;
  }

  get bytes(): number {
    return this.#bytes;
  }

  async begin(manifest: Manifest): Promise<void> {
    await this.text(first, `${JSON.stringify(manifest, null, 2)}\n`);
  }

  async text(name: string, text: string | Buffer): Promise<void> {
    const content = Buffer.from(text);
    this.#note(name, content.length);
    this.#hash.update(content);
    await this.#written((done) =>
      this.#tar.entry({ name, mode: 0o600, size: content.length }, content, done),
    );
  }

  /** As long as it is now. One that is gone meanwhile is left out. */
  async file(name: string, path: string): Promise<void> {
    const file = await open(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (!file) return;
    try {
      const { size } = await file.stat();
      if (size <= chunkBytes) return await this.text(name, await file.readFile());
      this.#note(name, size);
      await this.#written((done) => {
        const sink = this.#tar.entry({ name, mode: 0o600, size }, done);
        const source = file.createReadStream({ end: size - 1, highWaterMark: chunkBytes, autoClose: false });
        source.on('data', (chunk) => this.#hash.update(chunk));
        source.on('error', (error) => sink.destroy(error));
        sink.on('close', () => source.destroy());
        source.pipe(sink);
        return sink;
      });
    } finally {
      await file.close();
    }
  }

  async end(): Promise<void> {
    const content = `${JSON.stringify({ signature: sign(this.#key, this.#hash.digest('hex')) })}\n`;
    await this.#written((done) => this.#tar.entry({ name: last, mode: 0o600 }, content, done));
    this.#tar.finalize();
  }

  /** Whoever reads gets an error, not an end. */
  fail(error: unknown): void {
    this.#tar.destroy(error instanceof Error ? error : new Error(String(error)));
  }

  #note(name: string, size: number): void {
    this.#hash.update(`${name}\0${size}\0`);
    this.#bytes += size;
  }

  async #written(write: (done: (error?: Error | null) => void) => ReturnType<Pack['entry']>): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      // The callback tells of an error too; as an event without a listener it would end the process.
      write((error) => (error ? reject(error) : resolve())).on('error', reject);
    });
  }
}

/** A file that is not a whole backup as it was written. */
export class BrokenBackup extends Error {}

export type BackupReader = {
  /** Decides with the manifest whether to go on, which is to throw or to name the key of the signature. */
  begin: (manifest: Manifest) => Promise<Buffer>;
  take: (name: string, content: AsyncIterable<Buffer>) => Promise<void>;
};

/**
 * Reads a backup once, from front to end. Names of files are safe to make paths of. What was taken counts only when this
 * resolves: it rejects for one that is cut off or was changed.
 */
export async function readBackup(archive: Readable, reader: BackupReader): Promise<Manifest> {
  const incoming = extract();
  archive.on('error', (error: Error) => incoming.destroy(error));
  archive.pipe(incoming);
  const hash = createHash('sha256');
  let manifest: Manifest | undefined;
  let key = Buffer.alloc(0);
  let isWhole = false;
  try {
    for await (const entry of incoming) {
      const { name, size } = entry.header;
      if (isWhole || entry.header.type !== 'file' || !isSafeName(name)) throw new BrokenBackup();
      if (manifest && name === last) {
        isWhole = isSignature(await smallText(entry), sign(key, hash.digest('hex')));
        if (!isWhole) throw new BrokenBackup();
        continue;
      }
      hash.update(`${name}\0${size}\0`);
      if (manifest) {
        await reader.take(name, hashed(entry, hash));
        continue;
      }
      const text = name === first ? await smallText(entry) : undefined;
      manifest = parseManifest(text);
      hash.update(text ?? '');
      key = Buffer.from(await reader.begin(manifest));
    }
  } catch (error) {
    archive.destroy();
    throw error instanceof Error && endedEarly.test(error.message) ? new BrokenBackup() : error;
  }
  if (!manifest || !isWhole) throw new BrokenBackup();
  return manifest;
}

async function* hashed(entry: Entry, hash: Hash): AsyncGenerator<Buffer> {
  for await (const chunk of entry) {
    hash.update(chunk as Buffer);
    yield chunk as Buffer;
  }
}

/** What of a cut archive is seen first depends on where it is cut. */
const endedEarly = /^(Unexpected end of data|Invalid tar header|Stream was destroyed|Premature close)/;

function isSafeName(name: string): boolean {
  return /^[\w.@+-]+(\/[\w.@+-]+)*$/.test(name) && !name.split('/').some((part) => /^\.+$/.test(part));
}

async function smallText(entry: Entry): Promise<string> {
  if (entry.header.size > largestText) throw new BrokenBackup();
  return (await buffer(entry)).toString();
}

function parseManifest(text: string | undefined): Manifest {
  try {
    const manifest = JSON.parse(text ?? '') as Manifest;
    if (manifest.format === 1 && typeof manifest.keys === 'object') return manifest;
  } catch {
    // It is none.
  }
  throw new BrokenBackup();
}

function isSignature(text: string, wanted: string): boolean {
  const found = Buffer.from(/"signature":"([0-9a-f]{64})"/.exec(text)?.[1] ?? '', 'hex');
  return found.length === 32 && timingSafeEqual(found, Buffer.from(wanted, 'hex'));
}
