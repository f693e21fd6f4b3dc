import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Config, dataPaths } from '../config.ts';
import { lastBackup } from '../store/backup-notes.ts';
import { keys } from '../store/keys.ts';
import { hastyRedis } from '../store/redis.ts';
import { type Finding, ok, warn } from './finding.ts';

const dayMs = 24 * 3600 * 1000;
const oldAfterDays = 7;
const fix = 'gantry backup FILE --key KEYFILE  from time to time, to another machine';

/** How old the last backup is, once there is something to lose. Nothing while Redis cannot be asked. */
export async function backupFinding(config: Config): Promise<Finding[]> {
  const socket = join(dataPaths(config.dataDir).redis, 'redis.sock');
  if (config.redisUrl === undefined && !(await stat(socket).catch(() => undefined))) return [];
  const redis = hastyRedis(config.redisUrl ? { url: config.redisUrl } : { socket });
  try {
    await new Promise((resolve, reject) => redis.once('ready', resolve).once('error', reject));
    const [apps, at] = await Promise.all([redis.scard(keys.apps), lastBackup(redis)]);
    return [findingOf(apps, at, new Date())];
  } catch {
    return []; // what is wrong with Redis, its own check says
  } finally {
    redis.disconnect();
  }
}

export function findingOf(apps: number, at: Date | undefined, now: Date): Finding {
  if (at === undefined)
    return apps === 0
      ? ok('backup', 'there is nothing to back up yet')
      : warn('backup', 'there never was one', fix);
  const days = Math.floor((now.getTime() - at.getTime()) / dayMs);
  const age =
    days === 0 ? 'the last one is of today' : `the last one is ${days} ${days === 1 ? 'day' : 'days'} old`;
  return days > oldAfterDays ? warn('backup', age, fix) : ok('backup', `${age} (${at.toISOString()})`);
}
