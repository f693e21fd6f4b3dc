import { engineName, type ImageReference, isDigest } from '../domain/image-reference.ts';
import type { PublishRequest, PublishResult } from './engine.ts';
import type { EngineClient } from './engine-client.ts';
import { refusalOf } from './engine-refusal.ts';
import { readMessages } from './ndjson.ts';
import { explainPull } from './pull-image.ts';
import { registryAuth } from './registry-access.ts';

/** Uploads an image under a name in a registry; layers that are there are not sent again. Nothing of the name is left here. */
export async function publishImage(
  client: EngineClient,
  { image, reference, credentials }: PublishRequest,
  signal: AbortSignal,
): Promise<PublishResult> {
  const { repo, tag } = nameOf(reference);
  const named = await client.ask('naming an image', (docker, abortSignal) =>
    docker.getImage(image).tag({ repo, tag, abortSignal }),
  );
  if (!named.ok) throw new Error(`could not name the image ${image}: ${named.refusal.message}`);
  try {
    const answer = await client.dial('publishing an image', {
      method: 'POST',
      path: `/images/${repo}/push?`,
      query: { tag },
      // Unlike for a download the engine wants one even for a registry that asks nobody.
      headers: { 'X-Registry-Auth': 'e30=', ...registryAuth(credentials) },
      signal,
    });
    let digest: string | undefined;
    try {
      for await (const { error, aux } of readMessages(answer)) {
        if (typeof error === 'string') return explain(error, credentials !== undefined);
        digest = (aux as { Digest?: string } | undefined)?.Digest ?? digest;
      }
    } finally {
      answer.destroy();
    }
    return digest !== undefined && isDigest(digest)
      ? { ok: true, digest }
      : { ok: false, reason: 'the registry does not say which digest it has now' };
  } catch (error) {
    signal.throwIfAborted();
    const refusal = refusalOf(error);
    if (refusal === undefined) throw error;
    return explain(refusal.message, credentials !== undefined);
  } finally {
    await client.ask('forgetting a name of an image', (docker, abortSignal) =>
      docker.getImage(`${repo}:${tag}`).remove({ abortSignal }),
    );
  }
}

function nameOf(reference: ImageReference): { repo: string; tag: string } {
  const [repo = '', tag = ''] = engineName(reference, undefined).split(/:(?=[^/]*$)/);
  return { repo, tag };
}

function explain(message: string, hasLogin: boolean): PublishResult {
  const { reason, wantsLogin } = explainPull(message, undefined);
  if (!wantsLogin) return { ok: false, reason };
  return {
    ok: false,
    reason: hasLogin ? 'the registry does not take it with this login' : 'the registry wants a login',
  };
}
