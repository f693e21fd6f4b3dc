import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Redis } from 'ioredis';
import { writeAtomically } from '../atomic-file.ts';
import { BrokenBackup, type Manifest, readBackup, sign } from '../backup/archive.ts';
import { readStorePage } from '../backup/collect.ts';
import { type Config, dataPaths, readConfig } from '../config.ts';
import { isRunning } from '../doctor/running-server.ts';
import { messageOf } from '../errors.ts';
import { AuditLog } from '../store/audit-log.ts';
import { noteBackup } from '../store/backup-notes.ts';
import { keyFileName, readKeys } from '../store/sealing.ts';
import { emptyStore, isEmptyStore, putBack } from '../store/snapshot.ts';
import { schema } from '../store/store-id.ts';
import { TokenStore } from '../store/token-store.ts';
import { appsOf, endAll } from './end-all.ts';
import { ApiError, UsageError } from './exit-code.ts';
import { openStore } from './open-store.ts';
import { writeWhole } from './write-whole.ts';

/**
 * What `backUp` wrote, into an empty data folder. All of it or nothing: until the end `restoring` is there, with which no
 * server starts, and after a failure the folder is as empty as before.
 */
export async function restore(file: string, { key }: { key: string }): Promise<void> {
  const config = readConfig(process.env);
  const paths = dataPaths(config.dataDir);
  const keyText = await readFile(key, 'utf8').catch((error: unknown) => {
    throw new UsageError(`the key cannot be read: ${messageOf(error)}`);
  });
  const keys = readKeys(key);
  if (await isRunning(config))
    throw new ApiError(
      409,
      `a Gantry runs on port ${config.port}`,
      'end it first (Ctrl-C), then: gantry down',
    );
  const wasFilling = existsSync(filling(config));
  await makeEmptyFolder(config);
  try {
    await mkdir(paths.restoring, { mode: 0o700 });
    await using store = await openStore(config);
    const { redis } = store;
    if (wasFilling) await emptyStore(redis);
    if (!(await isEmptyStore(redis)))
      throw new ApiError(
        409,
        'the Redis that is to be used holds a Gantry already',
        'restore into an empty one, or with GANTRY_REDIS_URL another database of it: redis://host:port/1',
      );
    await writeFile(filling(config), '');
    try {
      for (const line of await restoreInto(redis)) console.error(line);
    } catch (error) {
      await emptyStore(redis).catch(() => {});
      throw error;
    }
  } catch (error) {
    await emptyFolder(config);
    throw error;
  }

  async function restoreInto(redis: Redis): Promise<string[]> {
    const source = file === '-' ? process.stdin : createReadStream(file);
    const manifest = await readBackup(source, {
      begin: (found) => Promise.resolve(checkManifest(found, keys, key)),
      take: (name, content) => takeFile(config.dataDir, name, content),
    }).catch((error: unknown) => {
      throw error instanceof BrokenBackup ? notWhole(file) : error;
    });
    await fillStore(redis, paths.restoring, manifest);
    await mkdir(paths.keys, { recursive: true, mode: 0o700 });
    await writeWhole([keyText], join(paths.keys, keyFileName));
    const told = await settle(redis, config, manifest);
    await writeAtomically(paths.storeId, `${manifest.storeId}\n`);
    await rm(paths.restoring, { recursive: true });
    return told;
  }
}

/** There while the store, which was empty, holds a part of the backup. */
function filling({ dataDir }: Config): string {
  return join(dataPaths(dataDir).restoring, 'filling');
}

function notWhole(file: string): ApiError {
  return new ApiError(
    422,
    `${file} is not a whole backup, or was changed since it was written: nothing was restored`,
  );
}

async function makeEmptyFolder(config: Config): Promise<void> {
  const { dataDir } = config;
  const { restoring } = dataPaths(dataDir);
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await chmod(dataDir, 0o700);
  if (existsSync(restoring)) await emptyFolder(config); // an earlier restore was killed
  const [found] = await contentOf(config);
  if (found !== undefined)
    throw new ApiError(
      409,
      `${dataDir} is not empty (${relative(dataDir, found)} is there): a backup is restored into an empty folder`,
      `move what is there away: mv ${dataDir} ${dataDir}.before`,
    );
}

/** Folders are not content: they may be where something is mounted. */
async function contentOf(config: Config): Promise<string[]> {
  const { dataDir } = config;
  const spared = await othersIn(config);
  const entries = await readdir(dataDir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !spared.some((folder) => path.startsWith(`${folder}/`)));
}

async function emptyFolder(config: Config): Promise<void> {
  const { dataDir } = config;
  const spared = await othersIn(config);
  for (const name of await readdir(dataDir)) {
    if (spared.includes(join(dataDir, name))) continue;
    // Something may be mounted there, so that it cannot be removed itself.
    await rm(join(dataDir, name), { recursive: true, force: true }).catch(() => {});
  }
}

/** Folders of an HAProxy and a Redis that others run, as docker-compose.yml does. */
async function othersIn({ dataDir, externalHaproxy }: Config): Promise<string[]> {
  const paths = dataPaths(dataDir);
  const hasRedis = await new Promise<boolean>((resolve) => {
    const socket = connect(join(paths.redis, 'redis.sock'));
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
  return [...(externalHaproxy ? [paths.router] : []), ...(hasRedis ? [paths.redis] : [])];
}

/** Whether this backup can be restored here with this key; answers with the one it is signed with. */
function checkManifest(manifest: Manifest, keys: ReadonlyMap<string, Buffer>, keyFile: string): Buffer {
  if (manifest.schema > schema)
    throw new ApiError(
      409,
      `the backup was written by a newer Gantry (${manifest.version}, schema ${manifest.schema}; here ${schema})`,
      'restore it with that version',
    );
  for (const [id, mark] of Object.entries(manifest.keys)) {
    const key = keys.get(id);
    if (!key || sign(key, id) !== mark)
      throw new ApiError(
        422,
        `${keyFile} is not the key of this backup (of ${manifest.takenAt}, key ${id})`,
        'it is the file that --key of gantry backup wrote, or keys/env.keys of the lost data folder',
      );
  }
  const [active = ''] = Object.keys(manifest.keys);
  const key = keys.get(active);
  if (!key) throw new BrokenBackup();
  return key;
}

/** The store is read when all of it is there. */
async function takeFile(dataDir: string, name: string, content: AsyncIterable<Buffer>): Promise<void> {
  const [top = ''] = name.split('/');
  const paths = dataPaths(dataDir);
  const places: Record<string, string> = {
    store: join(paths.restoring, 'store'),
    git: paths.repositories,
    logs: paths.logs,
    'app-logs': paths.appLogs,
    'known-hosts': paths.knownHosts,
  };
  const place = places[top];
  if (place === undefined || name === top) throw new BrokenBackup();
  const path = join(place, name.slice(top.length + 1));
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  // git takes a folder for a repository only when it has these.
  if (name.endsWith('/HEAD'))
    for (const folder of ['objects', 'refs']) await mkdir(join(dirname(path), folder), { recursive: true });
  await pipeline(content, createWriteStream(path, { flags: 'wx', mode: 0o600 }));
}

async function fillStore(redis: Redis, restoring: string, { takenAt }: Manifest): Promise<void> {
  const folder = join(restoring, 'store');
  const passedMs = Math.max(0, Date.now() - Date.parse(takenAt));
  for (const name of (await readdir(folder)).sort())
    await putBack(redis, readStorePage(await readFile(join(folder, name), 'utf8'), passedMs));
}

/** Nothing that was under way when the backup was made goes on by itself, and every app is to be looked at. */
async function settle(redis: Redis, config: Config, { takenAt, storeId }: Manifest): Promise<string[]> {
  const paths = dataPaths(config.dataDir);
  const told = await endAll(redis, config, `Gantry was restored from its backup of ${takenAt}`);
  await noteBackup(redis, new Date(takenAt));
  const by = 'gantry restore';
  const { secret, token } = await new TokenStore(redis).create({
    name: 'restored',
    scopes: ['admin'],
    createdBy: by,
  });
  await new AuditLog(redis).record({
    by,
    tokenId: '',
    address: '',
    app: '',
    action: 'restore',
    what: `backup of ${takenAt}, admin token ${token.tokenId}`,
    result: 'ok',
  });
  await writeAtomically(paths.token, `${secret}\n`);
  const apps = (await appsOf(redis, config)).length;
  return [
    ...told,
    `restored ${apps === 1 ? '1 app' : `${apps} apps`} as of ${takenAt} into ${config.dataDir} (store ${storeId})`,
    `all tokens work as before; a new one for administrators is in ${paths.token}`,
    'type gantry start: every live release that does not run here is built or pulled again, with the variables it had',
  ];
}
