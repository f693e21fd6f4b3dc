export type Credentials = { user: string; password: string };

const longestHeader = 8192;

/** The user and password of an `Authorization: Basic` header. Anything else, however odd, is no credentials. */
export function parseCredentials(header: string | undefined): Credentials | undefined {
  if (header === undefined || header.length > longestHeader) return undefined;
  const encoded = /^basic +([A-Za-z0-9+/=_-]+) *$/i.exec(header)?.[1];
  if (encoded === undefined) return undefined;
  const text = decodeUtf8(Buffer.from(encoded, 'base64'));
  const match = /^([^:]*):([^]+)$/.exec(text);
  // Control characters are in nobody's token, but may be on their way into a log.
  if (!match || /\p{Cc}/u.test(text)) return undefined;
  return { user: match[1] ?? '', password: match[2] ?? '' };
}

function decodeUtf8(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return '';
  }
}
