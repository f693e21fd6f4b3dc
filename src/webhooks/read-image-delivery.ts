import { z } from 'zod';
import { isDigest, isTag } from '../domain/image-reference.ts';
import { type ImageEvent, isLinkedImage, type WebhookEvent, type WebhookLink } from '../domain/webhook.ts';
import { nothing, parseBody, understand } from './read-delivery.ts';
import type { Signed } from './verify-delivery.ts';

/**
 * What a registry says; throws with one line when it makes no sense. Of a delivery about several images it is what it says
 * of the linked one, if that is among them.
 */
export function readImageDelivery(signed: Signed, link: WebhookLink): WebhookEvent {
  const { provider, headers, body } = signed;
  const payload = parseBody(headers, body);
  if (provider === 'dockerhub') return readDockerHub(payload);
  if (provider === 'ghcr') {
    const name = String(headers['x-github-event'] ?? '').slice(0, 50);
    if (name === 'ping') return { kind: 'ping' };
    return name === 'registry_package' || name === 'package'
      ? readPackage(payload)
      : nothing(`the event ${name}`);
  }
  return readNotifications(payload, link);
}

const notification = z.object({
  action: z.string(),
  timestamp: z.string().optional(),
  target: z.object({
    repository: z.string().optional(),
    tag: z.string().optional(),
    digest: z.string().optional(),
  }),
});
const envelope = z.union([
  z.object({ events: z.array(notification).max(10_000) }),
  // Registries that send one at a time.
  notification.transform((event) => ({ events: [event] })),
]);

/** Of Docker's distribution, which says of every layer that it came, and of every pull that it went. */
function readNotifications(payload: unknown, link: WebhookLink): WebhookEvent {
  const { events } = understand(envelope, payload);
  const pushed = events.flatMap(({ action, timestamp, target }): ImageEvent[] => {
    const { repository = '', tag = '', digest = '' } = target;
    if (action !== 'push' || !isTag(tag) || !isDigest(digest)) return [];
    return [{ kind: 'image', repository: repository.slice(0, 300), tag, digest, at: momentOf(timestamp) }];
  });
  const linked = pushed.filter((event) => isLinkedImage(event, link));
  const newest = linked.sort((a, b) => ((a.at ?? '') < (b.at ?? '') ? 1 : -1));
  const [event = pushed[0]] = newest;
  return event ?? nothing('no tag of an image was pushed');
}

const dockerHubPush = z.object({
  push_data: z.object({ tag: z.string(), pushed_at: z.number().optional() }),
  repository: z.object({ repo_name: z.string() }),
});

/** It does not say which digest, and anybody may have sent it who knows the address: the tag is looked up. */
function readDockerHub(payload: unknown): WebhookEvent {
  const { push_data, repository } = understand(dockerHubPush, payload);
  if (!isTag(push_data.tag)) return nothing('what was pushed has no tag');
  return {
    kind: 'image',
    repository: repository.repo_name.slice(0, 300),
    tag: push_data.tag,
    digest: undefined,
    at: undefined,
  };
}

const packageVersion = z.object({
  action: z.string(),
  registry_package: z.unknown().optional(),
  package: z.unknown().optional(),
});
const container = z.object({
  name: z.string(),
  namespace: z.string(),
  package_type: z.string(),
  updated_at: z.string().nullish(),
  package_version: z
    .object({
      container_metadata: z
        .object({ tag: z.object({ name: z.string(), digest: z.string() }).partial().nullish() })
        .nullish(),
    })
    .nullish(),
});

/** GitHub's, for ghcr.io. */
function readPackage(payload: unknown): WebhookEvent {
  const about = understand(packageVersion, payload);
  const { name, namespace, package_type, updated_at, package_version } = understand(
    container,
    about.registry_package ?? about.package,
  );
  if (package_type.toUpperCase() !== 'CONTAINER') return nothing(`a package of the kind ${package_type}`);
  const { name: tag = '', digest = '' } = package_version?.container_metadata?.tag ?? {};
  if (!isTag(tag) || !isDigest(digest)) return nothing('no tag of an image was pushed');
  const repository = `${namespace}/${name}`.slice(0, 300);
  return { kind: 'image', repository, tag, digest, at: momentOf(updated_at ?? undefined) };
}

/** In one form, so that moments can be compared as texts. */
function momentOf(text: string | undefined): string | undefined {
  const at = new Date(text ?? '');
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
}
