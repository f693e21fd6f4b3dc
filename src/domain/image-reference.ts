import { dockerHub, parseRegistryHost } from './registry-login.ts';

/** The name of an image in a registry. Without tag and digest it means the tag `latest`. */
export type ImageReference = {
  /** As `parseRegistryHost` returns it. */
  host: string;
  /** Of Docker Hub's own images without `library/`. */
  path: string;
  tag: string | undefined;
  digest: string | undefined;
};

/** What is deployed instead of a commit: the image that somebody named, and what that turned out to be. */
export type ImageSource = {
  /** As `showImage` writes it. */
  reference: string;
  /** `sha256:…`; unknown until the registry was asked. */
  digest: string | undefined;
};

const component = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const pathPattern = new RegExp(`^${component}(?:/${component})*$`);

/** Distribution's grammar. Problems are sentences without a full stop. */
export function parseImageReference(text: string): ImageReference | { problem: string } {
  if (text === '') return { problem: 'an image is called like registry.example/shop:1.2' };
  if (text.length > 500) return { problem: 'the name of an image has at most 255 characters' };
  if (text.startsWith('-')) return { problem: 'the name of an image does not start with a hyphen' };
  if (/[\s\p{Cc}]/u.test(text)) return { problem: 'the name of an image has no spaces' };
  if (text.includes('://')) return { problem: 'the name of an image has no https:// in front' };
  const [named = '', digest, ...more] = text.split('@');
  if (more.length > 0 || (digest !== undefined && !isDigest(digest)))
    return {
      problem: /^sha(?!256)/.test(digest ?? '')
        ? 'only digests of the kind sha256 are understood'
        : 'the digest of an image is sha256: and 64 hexadecimal digits in lower case',
    };
  const [, name = '', tag] = /^(.*?)(?::([^:/]*))?$/.exec(named) ?? [];
  if (tag !== undefined && !isTag(tag))
    return {
      problem: 'the tag of an image has 1 to 128 letters, digits, dots, hyphens and underscores',
    };
  const [first = '', ...rest] = name.split('/');
  const hasHost = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  const host = hasHost ? parseRegistryHost(first) : dockerHub;
  if (host === undefined) return { problem: `"${first}" is no host of a registry` };
  const path = hasHost ? rest.join('/') : name;
  if (path !== path.toLowerCase()) return { problem: 'the name of an image is in lower case' };
  if (!pathPattern.test(path))
    return {
      problem:
        'the name of an image has lower-case letters and digits, with dots, hyphens, underscores and slashes between them',
    };
  if (/^[0-9a-f]{64}$/.test(name)) return { problem: 'the id of an image is no name for it' };
  if (host.length + path.length > 254) return { problem: 'the name of an image has at most 255 characters' };
  return { host, path: host === dockerHub ? path.replace(/^library\//, '') : path, tag, digest };
}

/** A host and perhaps a path, in front of the names of images. */
export function isRegistryPlace(text: string): boolean {
  const reference = parseImageReference(`${text}/app`);
  return (
    !('problem' in reference) &&
    imageName(reference) === `${text}/app` &&
    /[.:]|^localhost/.test(text.split('/')[0] ?? '')
  );
}

export function isDigest(text: string): boolean {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}

export function isTag(text: string): boolean {
  return /^\w[\w.-]{0,127}$/.test(text);
}

/** Where it is, without tag and digest; as people write it. */
export function imageName({ host, path }: ImageReference): string {
  return host === dockerHub ? path : `${host}/${path}`;
}

/** The whole reference, as people write it, its tag spelled out. */
export function showImage(reference: ImageReference): string {
  const { tag, digest } = reference;
  const shownTag = tag ?? (digest === undefined ? 'latest' : undefined);
  return `${imageName(reference)}${shownTag === undefined ? '' : `:${shownTag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** As the engine is asked for it: nothing but the digest counts once there is one. */
export function engineName(reference: ImageReference, digest = reference.digest): string {
  const { host, path, tag } = reference;
  const name =
    host === dockerHub ? `${host}/${path.includes('/') ? path : `library/${path}`}` : `${host}/${path}`;
  return digest === undefined ? `${name}:${tag ?? 'latest'}` : `${name}@${digest}`;
}

function shortDigest(digest: string): string {
  return digest.slice(0, 'sha256:'.length + 12);
}

/** To be looked up again, unless it says itself which one it is. */
export function asGiven({ reference }: ImageSource): ImageSource {
  return { reference, digest: reference.split('@')[1] };
}

/** In one word: `shop:1.2@sha256:1a2b3c4d5e6f`. */
export function showImageSource({ reference, digest }: ImageSource): string {
  const [name = ''] = reference.split('@');
  return digest === undefined ? reference : `${name}@${shortDigest(digest)}`;
}
