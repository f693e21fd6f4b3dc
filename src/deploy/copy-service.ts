import { createReadStream, createWriteStream } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { VolumeAccess } from '../docker/engine.ts';
import { showBytes } from '../domain/bytes.ts';
import { labels } from '../domain/container.ts';
import type { Problem } from '../domain/deployment.ts';
import { serviceObject, serviceVolume } from '../domain/managed-service.ts';
import { safeText } from '../domain/safe-text.ts';
import type { ServiceName } from '../domain/service.ts';
import {
  containersOf,
  imageOf,
  type ServiceTools,
  serviceLabels,
  type Turn,
  type WantedService,
} from './keep-service.ts';

type Copied = Pick<WantedService, 'name' | 'managed'>;

const lookAtDiskEveryBytes = 64 * 1024 ** 2;

/**
 * Writes everything in the volume of a service into a tar. The service is stopped meanwhile, which makes it write out all
 * it has; whoever asked brings it back with `keepService`, should this die.
 */
export async function backUpService(
  tools: ServiceTools,
  service: Copied,
  file: string,
  { signal, guard }: Turn,
): Promise<Problem | undefined> {
  const { engine, limits } = tools;
  const image = await imageOf(tools, service, signal);
  if (typeof image !== 'string') return image;
  const containers = (await containersOf(tools, service.name)).filter(({ running }) => running);
  guard();
  try {
    for (const { id } of containers) await engine.stop(id, limits.graceMs);
    const access = accessTo(tools, service, image, service.managed.volume);
    await engine.readVolume(
      access,
      (tar) =>
        pipeline(tar, whileDiskLasts(file, limits.diskFloorBytes), createWriteStream(file, { mode: 0o600 })),
      signal,
    );
    return undefined;
  } catch (error) {
    if (error instanceof DiskFull) return { reason: error.message };
    throw error;
  } finally {
    for (const { id } of containers) await engine.startAgain(id).catch(() => undefined);
  }
}

/** Unpacks a tar into a new volume of a service, which goes on with the one it has. A volume half filled is removed. */
export async function fillVolume(
  tools: ServiceTools,
  service: Copied,
  file: string,
  number: number,
  { signal }: Turn,
): Promise<Problem | undefined> {
  const { engine } = tools;
  const image = await imageOf(tools, service, signal);
  if (typeof image !== 'string') return image;
  await dropVolume(tools, service.name, number);
  const access = accessTo(tools, service, image, number);
  const written = await engine.writeVolume(access, createReadStream(file), signal);
  if (written.ok) return undefined;
  await dropVolume(tools, service.name, number);
  return { reason: safeText(`the file cannot be unpacked: ${written.reason}`, 200) };
}

/** With what a dead worker left in the way. */
export async function dropVolume(tools: ServiceTools, name: ServiceName, number: number): Promise<void> {
  const { engine, storeTag } = tools;
  for (const { id, labels: marks } of await containersOf(tools, name))
    if (!(labels.serviceMark in marks)) await engine.stopAndRemove(id, 0);
  const volume = serviceVolume(storeTag, name, number);
  if (!(await engine.removeVolume(volume))) throw new Error(`the volume ${volume} is still used`);
}

function accessTo(tools: ServiceTools, { name }: Copied, image: string, number: number): VolumeAccess {
  return {
    image,
    volume: serviceVolume(tools.storeTag, name, number),
    name: `${serviceObject(tools.storeTag, name)}.copy`,
    labels: serviceLabels(tools, name),
  };
}

class DiskFull extends Error {}

/** Fails what would fill the disk. */
function whileDiskLasts(file: string, floorBytes: number): Transform {
  let untilLook = 0;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      untilLook -= chunk.length;
      if (untilLook > 0) return done(null, chunk);
      untilLook = lookAtDiskEveryBytes;
      statfs(dirname(file)).then(
        ({ bavail, bsize }) =>
          bavail * bsize < floorBytes + lookAtDiskEveryBytes
            ? done(new DiskFull(`the disk of the server is nearly full: ${showBytes(bavail * bsize)} free`))
            : done(null, chunk),
        (error: Error) => done(error),
      );
    },
  });
}
