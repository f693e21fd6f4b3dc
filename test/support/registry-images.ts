import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { addBusybox, addFile } from './base-image.ts';
import { registryPassword, registryUser } from './registry.ts';

export type PublishedImage = {
  /** Served as the page `/`; an image without one has no layers unless it has files. */
  page?: string;
  architecture?: string;
  /** As in an image's configuration: Cmd, Env, ExposedPorts and so on. */
  config?: Record<string, unknown>;
  /** Without busybox, and so without a shell. */
  files?: Record<string, Buffer>;
  layers?: 'none';
};

const types = {
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
};

/** A web server of busybox on a port. */
export function serving(port: number): string[] {
  return ['httpd', '-f', '-p', String(port), '-h', '/www'];
}

let busybox: Promise<Buffer> | undefined;

/**
 * Puts an image into a registry as `docker push` does, without an engine that would know it afterwards. Returns its
 * digest.
 */
export async function publish(host: string, name: string, image: PublishedImage = {}): Promise<string> {
  const [repository = '', tag = 'latest'] = name.split(':');
  const tars = image.layers === 'none' ? [] : await layersOf(image);
  const layers = await Promise.all(
    tars.map(async (tar) => {
      const packed = gzipSync(tar, { level: 1 });
      return {
        mediaType: types.layer,
        size: packed.length,
        digest: await putBlob(host, repository, packed),
      };
    }),
  );
  const config = Buffer.from(
    JSON.stringify({
      architecture: image.architecture ?? (process.arch === 'arm64' ? 'arm64' : 'amd64'),
      os: 'linux',
      config: { Env: ['PATH=/bin'], ...image.config },
      rootfs: { type: 'layers', diff_ids: tars.map(digestOf) },
      history: tars.map(() => ({ created_by: 'test' })),
    }),
  );
  const configDigest = await putBlob(host, repository, config);
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: types.manifest,
      config: { mediaType: types.config, size: config.length, digest: configDigest },
      layers,
    }),
  );
  await send(
    `http://${host}/v2/${repository}/manifests/${tag}`,
    { method: 'PUT', body: manifest, type: types.manifest },
    201,
  );
  return digestOf(manifest);
}

async function layersOf({ page = 'hello', files }: PublishedImage): Promise<Buffer[]> {
  if (files) return [await tarOf(files)];
  busybox ??= (async () => {
    const tar = pack();
    const bytes = buffer(tar);
    await addBusybox(tar);
    tar.finalize();
    return bytes;
  })();
  return [await busybox, await tarOf({ 'www/index.html': Buffer.from(page) })];
}

async function tarOf(files: Record<string, Buffer>): Promise<Buffer> {
  const tar = pack();
  const bytes = buffer(tar);
  for (const [name, content] of Object.entries(files)) await addFile(tar, name, content, 0o755);
  tar.finalize();
  return bytes;
}

async function putBlob(host: string, repository: string, bytes: Buffer): Promise<string> {
  const digest = digestOf(bytes);
  const begun = await send(`http://${host}/v2/${repository}/blobs/uploads/`, { method: 'POST' }, 202);
  const place = new URL(begun.headers.get('location') ?? '', `http://${host}`);
  place.searchParams.set('digest', digest);
  await send(place.toString(), { method: 'PUT', body: bytes, type: 'application/octet-stream' }, 201);
  return digest;
}

async function send(
  url: string,
  { method, body, type }: { method: string; body?: Buffer; type?: string },
  expected: number,
): Promise<Response> {
  const login = Buffer.from(`${registryUser}:${registryPassword}`).toString('base64');
  const answer = await fetch(url, {
    method,
    headers: { authorization: `Basic ${login}`, ...(type && { 'content-type': type }) },
    ...(body && { body: new Uint8Array(body) }),
  });
  if (answer.status !== expected)
    throw new Error(`${method} ${url}: ${answer.status} ${await answer.text()}`);
  return answer;
}

export function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
