import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { dataPaths, readConfig } from '../config.ts';
import { DockerodeEngine } from '../docker/dockerode-engine.ts';
import { onlyNames } from '../docker/image-archive.ts';
import { type AppName, parseAppName } from '../domain/app.ts';
import { labels } from '../domain/container.ts';
import { safeText } from '../domain/safe-text.ts';
import { messageOf } from '../errors.ts';
import { ApiError, UsageError } from './exit-code.ts';
import { writeWhole } from './write-whole.ts';

/** The images of an app on the engine of this machine; only who may use that engine and read our data folder can do this. */
type Images = { engine: DockerodeEngine; storeId: string; app: AppName; repository: string };

/** Writes the images of all kept releases of an app into an archive, for another machine of the same Gantry. */
export async function saveImages(name: string, file: string): Promise<void> {
  if (file === '-' && process.stdout.isTTY)
    throw new UsageError('an archive is nothing for a terminal: write it into a file or a pipe');
  await using found = await imagesOf(name);
  const { engine, app } = found;
  const names = await namesHere(found);
  if (names.length === 0) throw new ApiError(404, `there is no image of ${app} on this machine`);
  const archive = await engine.saveImages(names, never);
  if (file === '-') await pipeline(archive, process.stdout);
  else await writeWhole(archive, file);
  console.error(`saved ${told(names)} of ${app}`);
}

/** Loads what `saveImages` wrote: of the app only, and nothing in the place of what is here. */
export async function loadImages(name: string, file: string): Promise<void> {
  await using found = await imagesOf(name);
  const { engine, app, repository } = found;
  const here = new Set(await namesHere(found));
  const loaded: string[] = [];
  const left: string[] = [];
  const isOurs = new RegExp(`^${repository}:v\\d{1,9}-[\\w.-]{1,100}$`);
  const archive = file === '-' ? process.stdin : createReadStream(file);
  const filtered = onlyNames(archive, async (image) => {
    const isWanted = isOurs.test(image) && !here.has(image);
    (isWanted ? loaded : left).push(image);
    return isWanted;
  });
  await engine.loadImages(filtered, never).catch((error: unknown) => {
    throw new ApiError(422, `cannot load ${file}: ${safeText(messageOf(error), 200)}`);
  });
  const wrong = await removeForeign(found, [...new Set(loaded)]);
  const strangers = [...new Set(left)].filter((image) => image !== '' && !here.has(image));
  for (const image of [...strangers, ...wrong])
    console.error(`left out: ${safeText(image, 150)} is no image of ${app} in this Gantry`);
  const kept = [...new Set(loaded)].filter((image) => !wrong.includes(image));
  const known = [...new Set(left)].filter((image) => here.has(image));
  if (kept.length === 0 && known.length === 0)
    throw new ApiError(422, `nothing was loaded: ${file} holds no image of ${app} in this Gantry`);
  console.error(`loaded ${told(kept)} of ${app}${known.length === 0 ? '' : `; ${told(known)} were here`}`);
}

const never = new AbortController().signal;

async function imagesOf(name: string): Promise<Images & AsyncDisposable> {
  const app = parseAppName(name);
  if (!app) throw new UsageError(`"${name}" cannot be an app`);
  const config = readConfig(process.env);
  const storeId = (await readFile(dataPaths(config.dataDir).storeId, 'utf8').catch(() => '')).trim();
  if (storeId === '')
    throw new ApiError(404, `there is no Gantry in ${config.dataDir}`, 'run it on the machine of a worker');
  const engine = new DockerodeEngine({ socketPath: config.dockerSocket });
  return {
    engine,
    storeId,
    app,
    repository: `gantry-${storeId.slice(0, 6)}/${app}`,
    [Symbol.asyncDispose]: () => engine.close(),
  };
}

async function namesHere({ engine, app, repository }: Images): Promise<string[]> {
  const images = await engine.listImages(`${labels.app}=${app}`, repository);
  return images.flatMap(({ tags }) => tags).filter((tag) => tag.startsWith(`${repository}:`));
}

/** An archive can call anything anything. What was built by a Gantry says of which app and Gantry it is. */
async function removeForeign({ engine, storeId, app, repository }: Images, names: readonly string[]) {
  const images = await engine.listImages(`${labels.app}=${app}`, repository);
  const wrong = images
    .filter(
      ({ labels: marks }) =>
        (marks[labels.store] ?? storeId) !== storeId || (marks[labels.app] ?? app) !== app,
    )
    .flatMap(({ tags }) => tags)
    .filter((tag) => names.includes(tag));
  for (const tag of wrong) await engine.removeImage(tag);
  return wrong;
}

/** `v1, v2` */
function told(names: readonly string[]): string {
  const versions = names.map((name) => Number(/:v(\d+)-/.exec(name)?.[1])).sort((a, b) => a - b);
  return versions.length === 0 ? 'nothing' : versions.map((version) => `v${version}`).join(', ');
}
