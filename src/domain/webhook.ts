import type { AppName, CommitSha } from './app.ts';
import { parseImageReference } from './image-reference.ts';

/** Who says that an image was pushed. `registry`: Docker's own, and whoever speaks as it does. */
export const imageProviders = ['registry', 'dockerhub', 'ghcr'] as const;

/** Who sends deliveries. `generic`: anybody who can sign a small JSON. */
export const webhookProviders = [
  'github',
  'gitlab',
  'gitea',
  'forgejo',
  'bitbucket',
  'generic',
  ...imageProviders,
] as const;
export type WebhookProvider = (typeof webhookProviders)[number];

export function isOfImages(provider: WebhookProvider): boolean {
  return imageProviders.some((name) => name === provider);
}

/** Where an app's commits or images come from when they are not pushed here. */
export type WebhookLink = {
  provider: WebhookProvider;
  /** https or ssh; a login in it is a secret. For images, what is in front of the tag. */
  repository: string;
  /** Empty for images. */
  branch: string;
  /** The tag that is deployed, of images. */
  tag: string | undefined;
  /** How often the branch is looked at, besides what is said about it. */
  pollSeconds: number | undefined;
  createdAt: Date;
};

/** How looking at the branch went. */
export type PollState = {
  at: Date;
  /** Why it could not be looked at, and since when. */
  problem: string | undefined;
  since: Date | undefined;
};

/** What a delivery says, whoever sent it. Names in it are hostile text. */
export type WebhookEvent =
  | { kind: 'ping' }
  | { kind: 'nothing'; reason: string }
  | {
      kind: 'push';
      branch: string;
      /** Where the branch stood before, if the sender says so. */
      before: CommitSha | undefined;
      commit: CommitSha;
      /** First line of the message of the commit, if it is in the delivery. */
      subject: string;
      /** The whole message. */
      message: string;
      /** Every URL and path the sender knows the repository by. */
      repositories: readonly string[];
    }
  | {
      kind: 'image';
      /** Without the registry, which may know itself by another name than we do. */
      repository: string;
      tag: string;
      /** What the tag means now, if the sender says so. */
      digest: string | undefined;
      /** When it was pushed, as text in one form. */
      at: string | undefined;
    };

export type PushEvent = Extract<WebhookEvent, { kind: 'push' }>;
export type ImageEvent = Extract<WebhookEvent, { kind: 'image' }>;

type DeliveryState = 'fetching' | 'deploying' | 'ignored' | 'refused' | 'failed' | 'connected';

/** One message of a forge, and what became of it. */
export type Delivery = {
  /** The sender's own name for it; one that comes again is the same delivery. */
  id: string;
  app: AppName;
  provider: WebhookProvider;
  receivedAt: Date;
  state: DeliveryState;
  /** Why it was ignored or refused, or how it failed. */
  reason: string | undefined;
  /** The deployment it made. */
  number: number | undefined;
  /** What it said, for doing it again. */
  push: PushEvent | undefined;
  /** The same of an image. */
  image: ImageEvent | undefined;
};

const skipMarker = /\[(?:skip (?:deploy|ci)|(?:deploy|ci) skip|no (?:deploy|ci))\]/i;

/** Why a push is not deployed, as far as the delivery itself tells. */
export function reasonToIgnore(event: PushEvent, link: WebhookLink): string | undefined {
  if (event.branch !== link.branch) return `a push to ${event.branch}; only ${link.branch} is deployed`;
  const isKnown = event.repositories.length === 0 || event.repositories.some((url) => isSame(url, link));
  if (!isKnown) return `it is about ${event.repositories[0]}, not about the linked repository`;
  return reasonToSkip(event.message);
}

/** Why an image is not deployed, as far as the delivery itself tells. */
export function reasonToIgnoreImage(event: ImageEvent, link: WebhookLink): string | undefined {
  if (!isLinkedImage({ ...event, tag: link.tag ?? '' }, link))
    return `it is about ${event.repository}, not about the linked image`;
  return event.tag === link.tag ? undefined : `the tag ${event.tag}; only ${link.tag} is deployed`;
}

export function isLinkedImage({ repository, tag }: ImageEvent, link: WebhookLink): boolean {
  const linked = parseImageReference(link.repository);
  if ('problem' in linked || tag !== link.tag) return false;
  return repository.toLowerCase().replace(/^library\//, '') === linked.path;
}

/** Whether the message of a commit says that it is not to be deployed. */
export function reasonToSkip(message: string): string | undefined {
  const marker = skipMarker.exec(message)?.[0];
  return marker && `the commit says ${marker}`;
}

/** Senders know a repository by several URLs and by its path; the host is compared when both have one. */
function isSame(url: string, link: WebhookLink): boolean {
  const [one, other] = [placeOf(url), placeOf(link.repository)];
  return one.path === other.path && (one.host === '' || one.host === other.host);
}

function placeOf(text: string): { host: string; path: string } {
  const tidy = (path: string): string =>
    path
      .replace(/^\/+|\/+$/g, '')
      .replace(/\.git$/, '')
      .toLowerCase();
  const short = /^[^@/]+@([^:/]+):(.+)$/.exec(text);
  if (short) return { host: (short[1] ?? '').toLowerCase(), path: tidy(short[2] ?? '') };
  if (!URL.canParse(text)) return { host: '', path: tidy(text) };
  const { hostname, pathname } = new URL(text);
  return { host: hostname.toLowerCase(), path: tidy(pathname) };
}
