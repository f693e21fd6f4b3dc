import { dataPaths, readConfig } from '../config.ts';
import { isRunning } from '../doctor/running-server.ts';
import { Repositories } from '../git/repositories.ts';
import { AuditLog } from '../store/audit-log.ts';
import { removePassing } from '../store/snapshot.ts';
import { acceptOld, identify, isOldStore } from '../store/store-id.ts';
import { appsOf, endAll } from './end-all.ts';
import { ApiError } from './exit-code.ts';
import { openStore } from './open-store.ts';

/**
 * For an older state of Redis that somebody put under the data folder, with which no server starts: makes it what a
 * restored backup is. Until the end it is no state to start with.
 */
export async function acceptOldStore(): Promise<void> {
  const config = readConfig(process.env);
  const paths = dataPaths(config.dataDir);
  if (await isRunning(config))
    throw new ApiError(409, `a Gantry runs on port ${config.port}`, 'end it first (Ctrl-C)');
  await using store = await openStore(config);
  const { redis } = store;
  const id = await identify(redis, paths);
  if (!(await isOldStore(redis, paths, id)))
    throw new ApiError(409, 'what Redis holds is not older than the data folder: there is nothing to accept');
  const told = await endAll(redis, config, 'an older state of Gantry was put back');
  await removePassing(redis);
  await new AuditLog(redis).record({
    by: 'gantry accept-old-store',
    tokenId: '',
    address: '',
    app: '',
    action: 'accept old store',
    what: '',
    result: 'ok',
  });
  const known = new Set((await appsOf(redis, config)).map(({ name }) => name));
  const newer = (await new Repositories(paths.repositories).list()).filter((app) => !known.has(app));
  await acceptOld(redis, paths, id);
  for (const line of told) console.error(line);
  for (const app of newer)
    console.error(`${app} is newer than this state: gantry start removes its containers; push it again`);
  console.error(
    'the older state counts now, with the tokens, variables and domains of then; type gantry start (and start every worker again): each app goes back to the release that was live then',
  );
}
