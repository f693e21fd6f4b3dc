import type { AppName } from '../domain/app.ts';
import { labels } from '../domain/container.ts';
import { parseImageReference } from '../domain/image-reference.ts';
import type { Release } from '../domain/release.ts';
import type { BoundService } from '../domain/service.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import type { DeployTools } from './attempt.ts';

/** The highest number in a name of something of the app's: a backup may be older than what is here. */
export async function newestOnEngine(
  { engine, storeId, storeTag }: DeployTools,
  app: AppName,
): Promise<number> {
  const repository = `gantry-${storeTag}/${app}`;
  const [containers, images] = await Promise.all([
    engine.listContainers(`${labels.app}=${app}`),
    engine.listImages(`${labels.app}=${app}`, repository),
  ]);
  const ours = containers.filter(({ labels: marks }) => marks[labels.store] === storeId);
  const tags = images.flatMap((image) => image.tags).filter((tag) => tag.startsWith(`${repository}:v`));
  return Math.max(
    0,
    ...ours.map(({ labels: marks }) => Number(marks[labels.release] ?? 0)),
    ...tags.map((tag) => Number(/:v(\d+)-/.exec(tag)?.[1] ?? 0)),
  );
}

/** The image of a release from where it was published, under the name it had. False: there it is not either. */
export async function fetchPublished(
  { engine, registry, registryLogin, limits }: DeployTools,
  { published, image }: Release,
): Promise<boolean> {
  const reference = published === undefined ? undefined : parseImageReference(published);
  if (!reference || 'problem' in reference || reference.digest === undefined) return false;
  const { digest, host } = reference;
  const login =
    registry !== undefined && published?.startsWith(`${registry}/`) ? await registryLogin() : undefined;
  const credentials = login && { host, ...login };
  const request = { reference: { ...reference, digest }, tag: image, ...(credentials && { credentials }) };
  const pulled = await engine.pullImage(request, () => {}, timeoutSignal(limits.buildTimeoutMs));
  return pulled.ok;
}

/** Whether the services that an app needs have containers by now. */
export async function servicesRun(
  { engine, storeId }: DeployTools,
  services: readonly BoundService[],
): Promise<boolean> {
  const found = await Promise.all(
    services
      .filter(({ isManaged }) => isManaged)
      .map(({ name }) => engine.listContainers(`${labels.service}=${name}`)),
  );
  return found.every((containers) =>
    containers.some(({ running, labels: marks }) => running && marks[labels.store] === storeId),
  );
}
