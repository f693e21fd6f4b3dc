import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { extract, type Pack, pack } from 'tar-stream';

type Entry = ReturnType<typeof extract> extends AsyncIterable<infer Each> ? Each : never;

/** What an archive may hold of each: one with more is not one of images. */
const largestIndex = 4 * 1024 ** 2;

/**
 * An archive of images as `docker save` writes it, without the names that are not wanted: whoever loads it would otherwise give them to
 * whatever is in there. Memory stays flat. A stream that fails is destroyed, so that half an archive is not loaded as a whole one.
 */
export function onlyNames(archive: Readable, isWanted: (name: string) => Promise<boolean>): Readable {
  const incoming = extract();
  const outgoing = pack({ highWaterMark: 256 * 1024 });
  archive.on('error', (error: Error) => incoming.destroy(error));
  archive.pipe(incoming);
  filter(incoming, outgoing, isWanted).then(
    () => outgoing.finalize(),
    (error: unknown) => {
      archive.destroy();
      outgoing.destroy(error instanceof Error ? error : new Error(String(error)));
    },
  );
  return Readable.from(outgoing, { objectMode: false });
}

async function filter(
  incoming: AsyncIterable<Entry>,
  outgoing: Pack,
  isWanted: (name: string) => Promise<boolean>,
): Promise<void> {
  let hasImages = false;
  for await (const entry of incoming) {
    const { header } = entry;
    if (header.name === 'repositories') {
      // Says the same for engines that are older than ours.
      entry.resume();
    } else if (header.name === 'manifest.json') {
      hasImages = true;
      await rewrite(entry, outgoing, async (images) => {
        const kept = await Promise.all(asList(images).map((image) => withWanted(image, isWanted)));
        return kept.filter((image) => image.RepoTags.length > 0);
      });
    } else if (header.name === 'index.json') {
      await rewrite(entry, outgoing, async (index) => {
        const manifests = asList((index as { manifests?: unknown }).manifests);
        const wanted = await Promise.all(manifests.map((manifest) => isWanted(nameIn(manifest))));
        return { ...(index as object), manifests: manifests.filter((_, place) => wanted[place]) };
      });
    } else await copy(entry, outgoing);
  }
  if (!hasImages)
    throw new Error('it is no archive of images, as gantry cache save and docker save write it');
}

async function withWanted(image: object, isWanted: (name: string) => Promise<boolean>) {
  const names = (image as { RepoTags?: unknown }).RepoTags;
  const all = Array.isArray(names) ? names.map(String) : [];
  const wanted = await Promise.all(all.map(isWanted));
  return { ...image, RepoTags: all.filter((_, place) => wanted[place]) };
}

/** Docker 25 and newer; empty for what has no name. */
function nameIn(manifest: object): string {
  const { annotations } = manifest as { annotations?: Record<string, unknown> };
  const name = annotations?.['io.containerd.image.name'];
  return typeof name === 'string' ? name.replace(/^docker\.io\//, '') : '';
}

function asList(value: unknown): object[] {
  return Array.isArray(value)
    ? value.filter((each): each is object => typeof each === 'object' && each !== null)
    : [];
}

async function rewrite(
  entry: Entry,
  outgoing: Pack,
  change: (content: unknown) => Promise<unknown>,
): Promise<void> {
  const { header } = entry;
  if (header.size > largestIndex) throw new Error(`its ${header.name} is too large`);
  const content: unknown = JSON.parse((await buffer(entry)).toString());
  const bytes = Buffer.from(JSON.stringify(await change(content)));
  const { name, mode, mtime } = header;
  await written((done) => outgoing.entry({ name, mode, mtime, size: bytes.length }, bytes, done));
}

async function copy(entry: Entry, outgoing: Pack): Promise<void> {
  await written((done) => {
    const sink = outgoing.entry(entry.header, done);
    entry.on('error', (error: Error) => sink.destroy(error));
    entry.pipe(sink);
    return sink;
  });
}

async function written(
  write: (done: (error?: Error | null) => void) => ReturnType<Pack['entry']>,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    // The callback tells of an error too; as an event without a listener it would end the process.
    write((error) => (error ? reject(error) : resolve())).on('error', reject);
  });
}
