import type { ImageFacts } from './engine.ts';
import type { EngineClient } from './engine-client.ts';
import { imageFacts } from './image-facts.ts';

export async function inspectImage(client: EngineClient, reference: string): Promise<ImageFacts | undefined> {
  const found = await client.ask('looking for an image', (docker) => docker.getImage(reference).inspect());
  if (found.ok) return imageFacts(found.value);
  if (found.refusal.status === 404) return undefined;
  throw new Error(`could not inspect the image ${reference}: ${found.refusal.message}`);
}

/** `false`: there is no such image. */
export async function tagImage(client: EngineClient, reference: string, tag: string): Promise<boolean> {
  const [repo = '', name = ''] = tag.split(/:(?=[^/]*$)/);
  const tagged = await client.ask('naming an image', (docker, abortSignal) =>
    docker.getImage(reference).tag({ repo, tag: name, abortSignal }),
  );
  if (!tagged.ok && tagged.refusal.status !== 404)
    throw new Error(`could not tag the image ${reference}: ${tagged.refusal.message}`);
  return tagged.ok;
}

/** `false`: something runs on it. */
export async function removeImage(client: EngineClient, reference: string): Promise<boolean> {
  const removed = await client.ask('removing an image', (docker, abortSignal) =>
    docker.getImage(reference).remove({ abortSignal }),
  );
  if (removed.ok || removed.refusal.status === 404) return true;
  if (removed.refusal.status === 409) return false;
  throw new Error(`could not remove the image ${reference}: ${removed.refusal.message}`);
}

/** Those with the label, and those with the name. */
export async function listImages(
  client: EngineClient,
  label: string,
  name: string,
): Promise<{ id: string; tags: string[]; labels: Record<string, string> }[]> {
  const kinds: Record<string, string[]>[] = [{ label: [label] }, { reference: [name] }];
  const lists = await Promise.all(
    kinds.map((filters) =>
      client.call('listing images', (docker, abortSignal) => docker.listImages({ filters, abortSignal })),
    ),
  );
  const images = [...new Map(lists.flat().map((image) => [image.Id, image])).values()];
  return images.map((image) => ({
    id: image.Id,
    tags: (image.RepoTags ?? []).filter((tag) => tag !== '<none>:<none>'),
    labels: image.Labels ?? {},
  }));
}
