import { readdir, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Config, dataPaths } from '../config.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

const gigabyte = 1024 ** 3;
/** Below this a machine with builds is full within days. */
const comfortableBytes = 5 * gigabyte;
const fewInodes = 0.05;

/** `engineFolder`: where the engine keeps images, when it can be asked. */
export async function diskFindings(config: Config, engineFolder: string | undefined): Promise<Finding[]> {
  const folder = await nearestThere(config.dataDir);
  const { dev } = await stat(folder);
  const data = await diskFinding('disk', folder, `for ${config.dataDir}`, config.diskFloorBytes);
  const other = engineFolder && (await stat(engineFolder).catch(() => undefined));
  if (!engineFolder || !other || other.dev === dev) return [data];
  return [data, await diskFinding('image disk', engineFolder, `for ${engineFolder}`, config.diskFloorBytes)];
}

async function diskFinding(check: string, folder: string, what: string, floor: number): Promise<Finding> {
  const { bavail, bsize, files, ffree } = await statfs(folder);
  const free = bavail * bsize;
  const detail = `${(free / gigabyte).toFixed(1)} GiB free ${what}`;
  const fix = 'docker system prune, or move GANTRY_DATA to a larger disk';
  if (free < floor) return fail(check, detail, fix);
  // Some file systems count none.
  if (files > 0 && ffree / files < fewInodes)
    return warn(check, `${detail}, but only ${ffree} inodes: no new files when they are used up`, fix);
  return free < comfortableBytes ? warn(check, detail, fix) : ok(check, detail);
}

async function nearestThere(wanted: string): Promise<string> {
  let folder = wanted;
  while (!(await stat(folder).catch(() => undefined)) && folder !== '/') folder = dirname(folder);
  return folder;
}

/** Tokens, keys and sockets: nobody else on the machine may get at them. */
export async function secretsFinding(config: Config): Promise<Finding> {
  const paths = dataPaths(config.dataDir);
  const keyFile = join(paths.keys, 'env.keys');
  const folder = await stat(config.dataDir).catch(() => undefined);
  if (!folder) return ok('secrets', 'nothing is there yet; gantry start makes it');
  const isUsed = await readdir(paths.repositories).then(
    (names) => names.length > 0,
    () => false,
  );
  if (isUsed && !(await stat(keyFile).catch(() => undefined)))
    return fail(
      'secrets',
      `the key ${keyFile} is gone: no variable of any app can be read`,
      'put it back from a backup, or set every variable anew: gantry env set',
    );
  if ((folder.mode & 0o077) !== 0)
    return fail(
      'secrets',
      `others on this machine may look into ${config.dataDir}`,
      `chmod 700 ${config.dataDir}`,
    );
  for (const file of [paths.token, keyFile]) {
    const { mode } = (await stat(file).catch(() => undefined)) ?? { mode: 0 };
    if ((mode & 0o077) !== 0) return fail('secrets', `others may read ${file}`, `chmod 600 ${file}`);
  }
  return ok('secrets', `${config.dataDir} and the keys in it are closed to others`);
}
