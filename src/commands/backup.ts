import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Redis } from 'ioredis';
import { BackupWriter, sign } from '../backup/archive.ts';
import { addFolder, addRepositories, addStore } from '../backup/collect.ts';
import { type Config, dataPaths, readConfig } from '../config.ts';
import { showBytes } from '../domain/bytes.ts';
import { Repositories } from '../git/repositories.ts';
import { AppStore } from '../store/app-store.ts';
import { noteBackup } from '../store/backup-notes.ts';
import { keyFileName, loadSealer, readKeys } from '../store/sealing.ts';
import { ServiceStore } from '../store/service-store.ts';
import { takeSnapshot } from '../store/snapshot.ts';
import { checkStoreId, schema } from '../store/store-id.ts';
import { version } from '../version.ts';
import { ApiError, UsageError } from './exit-code.ts';
import { openStore } from './open-store.ts';
import { writeWhole } from './write-whole.ts';

/**
 * Everything of this Gantry but its key, while it runs: first the store as it is at one moment, then the repositories, whose
 * branches may be newer than the store by what was pushed meanwhile.
 */
export async function backUp(file: string, { key }: { key?: string }): Promise<void> {
  if (file === '-' && process.stdout.isTTY)
    throw new UsageError('a backup is nothing for a terminal: write it into a file or a pipe');
  if (key !== undefined && resolve(key) === resolve(file))
    throw new UsageError('the key does not belong into the backup: name another file for it');
  const config = readConfig(process.env);
  const paths = dataPaths(config.dataDir);
  if (!existsSync(paths.storeId))
    throw new ApiError(404, `there is no Gantry in ${config.dataDir}`, 'run it on the machine of the server');
  await using store = await openStore(config);
  const storeId = await checkStoreId(store.redis, paths);
  if (key !== undefined) await saveKey(join(paths.keys, keyFileName), key);

  const takenAt = new Date();
  const keys = readKeys(join(paths.keys, keyFileName));
  const [[, active] = []] = keys;
  if (!active) throw new Error('the key file holds no key');
  const writer = new BackupWriter(active);
  const archive = Readable.from(writer.stream, { objectMode: false });
  const writing = (async () => {
    const stored = await takeSnapshot(store.redis);
    await writer.begin({
      format: 1,
      version: version(),
      schema,
      storeId,
      takenAt: takenAt.toISOString(),
      redis: /^redis_version:(.*)$/m.exec(await store.redis.info('server'))?.[1]?.trim() ?? '',
      keys: Object.fromEntries([...keys].map(([id, bytes]) => [id, sign(bytes, id)])),
    });
    await addStore(writer, stored);
    const count = await addRepositories(writer, new Repositories(paths.repositories));
    for (const [name, folder] of folders(config)) await addFolder(writer, name, folder);
    await writer.end();
    return count;
  })();
  writing.catch((error: unknown) => writer.fail(error));
  if (file === '-') await pipeline(archive, process.stdout);
  else await writeWhole(archive, file);
  const count = await writing;
  await noteBackup(store.redis, takenAt);

  const size = showBytes(file === '-' ? writer.bytes : (await stat(file)).size);
  const place = file === '-' ? '' : ` in ${file}`;
  console.error(
    `backed up${place}: store, ${count === 1 ? '1 repository' : `${count} repositories`} and logs, ${size}, as of ${takenAt.toISOString()}`,
  );
  await tellWhatIsLeft(store.redis, config, file, key);
}

/** What is copied as it is. */
function folders({ dataDir }: Config): [string, string][] {
  const paths = dataPaths(dataDir);
  return [
    ['logs', paths.logs],
    ['app-logs', paths.appLogs],
    ['known-hosts', paths.knownHosts],
  ];
}

async function saveKey(from: string, file: string): Promise<void> {
  const text = await readFile(from, 'utf8');
  const there = await readFile(file, 'utf8').catch(() => undefined);
  if (there !== undefined && there !== text)
    throw new ApiError(409, `${file} is there and holds something else: name another file for the key`);
  if (there === undefined) await writeWhole([text], file);
}

async function tellWhatIsLeft(redis: Redis, config: Config, file: string, key: string | undefined) {
  console.error(
    key === undefined
      ? `not in it: the key, without which it cannot be restored (once is enough: gantry backup ${file} --key KEYFILE)`
      : `the key is in ${key}; keep it apart from the backup: with both, every variable can be read`,
  );
  const sealer = await loadSealer(dataPaths(config.dataDir).keys, false);
  const apps = new AppStore(redis, sealer);
  const withVolumes: string[] = [];
  for (const { name } of await apps.list())
    if ((await apps.options(name)).volumes.length > 0) withVolumes.push(name);
  const services = (await new ServiceStore(redis, sealer).list()).filter(({ managed }) => managed);
  for (const { name } of services)
    console.error(`not in it: the data of the service ${name} (gantry services backup ${name} FILE)`);
  if (withVolumes.length > 0) console.error(`not in it: what is in the volumes of ${withVolumes.join(', ')}`);
  console.error('not in it: images, which are built and pulled again (or: gantry cache save APP FILE)');
}
