import { readFile, writeFile } from 'node:fs/promises';
import { dataPaths, readConfig } from '../config.ts';
import { DockerodeEngine } from '../docker/dockerode-engine.ts';
import { labels } from '../domain/container.ts';
import { createLogger } from '../logger.ts';
import { HttpAndTcpRouter } from '../router/http-and-tcp-router.ts';
import { RedisProcess } from '../store/redis-process.ts';

/** Ends what outlives `gantry start`: the router, a Redis left by a crash, and on request everything of the apps. */
export async function down(options: { apps?: boolean; deleteData?: boolean }): Promise<void> {
  const config = readConfig(process.env);
  const paths = dataPaths(config.dataDir);
  const logger = createLogger('silent', 'down');
  const { router: dir, tcpRouter: tcpDir } = paths;
  await new HttpAndTcpRouter({ dir, tcpDir, httpPort: config.httpPort, logger }).stop();
  await new RedisProcess(paths.redis, logger).stop();
  if (!options.apps) return;
  const storeId = (await readFile(paths.storeId, 'utf8').catch(() => '')).trim();
  if (storeId === '') return;
  // In containers a worker may run beside us, and would start again what is missing.
  await writeFile(paths.takenDown, '');
  const engine = new DockerodeEngine({ socketPath: config.dockerSocket });
  const mark = `${labels.store}=${storeId}`;
  const repository = `gantry-${storeId.slice(0, 6)}/`;
  // What was just being started is there the second time.
  for (
    let left = await engine.listContainers(mark);
    left.length > 0;
    left = await engine.listContainers(mark)
  )
    for (const container of left) await engine.stopAndRemove(container.id, 0);
  for (const image of await engine.listImages(mark, `${repository}*`)) {
    const isMade = image.labels[labels.store] === storeId;
    // What was pulled may have other names, which are somebody else's.
    const names = isMade ? [...image.tags, image.id] : image.tags.filter((tag) => tag.startsWith(repository));
    for (const name of names) await engine.removeImage(name);
  }
  for (const network of await engine.listNetworks(mark)) await engine.removeNetwork(network);
  if (options.deleteData)
    for (const volume of await engine.listVolumes(mark)) await engine.removeVolume(volume);
  await engine.close();
}
