import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Config, dataPaths } from '../config.ts';
import { isInstalled } from '../deploy/hook-host.ts';
import { messageOf, redisRefusal } from '../errors.ts';
import { checkRedis, patientRedis } from '../store/redis.ts';
import { redisDamage } from '../store/redis-process.ts';
import { isOldStore } from '../store/store-id.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

export async function redisFinding(config: Config): Promise<Finding> {
  const socket = join(dataPaths(config.dataDir).redis, 'redis.sock');
  if (config.redisUrl === undefined && !(await stat(socket).catch(() => undefined))) {
    return (await isInstalled('redis-server')) || (await isInstalled('valkey-server'))
      ? ok('redis', 'installed; gantry start runs a private one')
      : fail('redis', 'redis-server is not installed', 'apt-get install redis-server');
  }
  const client = patientRedis(config.redisUrl ? { url: config.redisUrl } : { socket });
  try {
    const [warning] = await checkRedis(client);
    const paths = dataPaths(config.dataDir);
    const id = await readFile(paths.storeId, 'utf8').catch(() => '');
    if (await isOldStore(client, paths, id.trim()))
      return fail(
        'redis',
        'it holds an older state of this Gantry than the data folder knows of',
        'put its newer data back, or go on with the older state: gantry accept-old-store',
      );
    if (warning !== undefined) return warn('redis', warning, 'see redis.conf');
    if (config.redisUrl !== undefined && !client.options.password) {
      return warn(
        'redis',
        'it asks for no password: hooks, builds and apps that reach its port can change everything',
        'set requirepass in redis.conf and GANTRY_REDIS_URL=redis://:PASSWORD@host:port',
      );
    }
    return ok(
      'redis',
      config.redisUrl === undefined ? 'the private one answers' : 'the external one answers',
    );
  } catch (error) {
    const damage = config.redisUrl === undefined && (await redisDamage(dataPaths(config.dataDir).redis));
    const { reason, fix } = redisRefusal(error) ?? (damage || {});
    return fail('redis', reason ?? messageOf(error), fix ?? 'npm start, or check GANTRY_REDIS_URL');
  } finally {
    client.disconnect();
  }
}
