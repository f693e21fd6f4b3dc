import type { Readable } from 'node:stream';
import { labels } from '../domain/container.ts';
import type { VolumeAccess } from './engine.ts';
import type { EngineClient, RawRequest } from './engine-client.ts';
import { refusalOf } from './engine-refusal.ts';
import { removeContainer } from './remove-container.ts';

const folder = '/data';

export async function readVolume(
  client: EngineClient,
  access: VolumeAccess,
  take: (tar: Readable) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  await withAccess(client, access, async (container) => {
    const tar = await client.dial('reading a volume', {
      method: 'GET',
      path: `/containers/${container}/archive?`,
      query: { path: folder },
      signal,
    });
    try {
      await take(tar);
    } finally {
      tar.destroy();
    }
  });
}

export async function writeVolume(
  client: EngineClient,
  access: VolumeAccess,
  tar: Readable,
  signal: AbortSignal,
): Promise<{ ok: true } | { ok: false; reason: string }> {
  const unread = new AbortController();
  tar.once('error', (error) => unread.abort(error));
  return await withAccess(client, access, async (container) => {
    try {
      const answer = await client.dial('writing a volume', {
        method: 'PUT',
        path: `/containers/${container}/archive?`,
        query: { path: '/' },
        body: tar,
        headers: { 'content-type': 'application/x-tar' },
        signal: AbortSignal.any([signal, unread.signal]),
      });
      answer.resume();
      return { ok: true };
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === undefined) throw error;
      return { ok: false, reason: refusal.message };
    } finally {
      tar.destroy();
    }
  });
}

/** The name may be taken by one that a dead worker left. */
async function withAccess<T>(
  client: EngineClient,
  { image, volume, name, labels: marks }: VolumeAccess,
  act: (container: string) => Promise<T>,
): Promise<T> {
  await removeContainer(client, name);
  const { [labels.serviceMark]: _, ...kept } = marks;
  const options: RawRequest = {
    _query: { name },
    _body: {
      Image: image,
      Labels: kept,
      // It is never started, but must have one.
      Entrypoint: ['-'],
      HostConfig: {
        NetworkMode: 'none',
        Mounts: [
          {
            Type: 'volume',
            Source: volume,
            Target: folder,
            VolumeOptions: { NoCopy: true, Labels: kept, DriverConfig: { Name: 'local', Options: {} } },
          },
        ],
      },
    },
  };
  const { id } = await client.call('creating a container', (docker, abortSignal) =>
    docker.createContainer({ ...options, abortSignal }),
  );
  try {
    return await act(id);
  } finally {
    await removeContainer(client, id);
  }
}
