import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { WebhookProvider } from '../domain/webhook.ts';

export type Signed = {
  provider: WebhookProvider;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** At the end of the address, from a sender who can sign nothing and set no header. */
  token?: string | undefined;
};

/** A signature older than that may be somebody repeating what they overheard. */
const toleranceMs = 5 * 60_000;

/**
 * Whether the delivery was signed with one of the secrets, by the rules of its provider, over the bytes as they came.
 * `undefined`: it was; else why it is not believed.
 */
export function problemOfSignature(
  delivery: Signed,
  secrets: readonly string[],
  now: Date,
): string | undefined {
  const usable = secrets.filter((secret) => secret !== '');
  const header = (name: string): string => String(delivery.headers[name] ?? '');
  const bearer = (): string => /^bearer +(\S+)$/i.exec(header('authorization'))?.[1] ?? '';
  const hex = (value: string): string | undefined => problemOfHex(value, delivery.body, usable);
  switch (delivery.provider) {
    case 'github':
    case 'ghcr':
      return hex(prefixed(header('x-hub-signature-256')));
    // Its header of this name carries SHA-256, not SHA-1 as GitHub's.
    case 'bitbucket':
      return hex(prefixed(header('x-hub-signature')));
    case 'gitea':
      return hex(header('x-gitea-signature'));
    // It sends Gitea's headers as well; if its own is there, that alone decides.
    case 'forgejo':
      return hex(header('x-forgejo-signature') || header('x-gitea-signature'));
    case 'gitlab':
      return header('webhook-signature') !== ''
        ? problemOfStandard(delivery, usable, now)
        : problemOfToken(header('x-gitlab-token'), usable);
    case 'generic':
      if (header('webhook-signature') !== '') return problemOfStandard(delivery, usable, now);
      if (header('x-signature-256') !== '') return hex(prefixed(header('x-signature-256')));
      return problemOfToken(bearer(), usable);
    // The header is set in its configuration.
    case 'registry':
      return problemOfToken(bearer(), usable);
    case 'dockerhub':
      return problemOfToken(delivery.token ?? '', usable.map(tokenInAddress));
  }
}

/** The secret as it can stand in an address. */
export function tokenInAddress(secret: string): string {
  return Buffer.from(secret.replace(/^whsec_/, ''), 'base64').toString('base64url');
}

function prefixed(value: string): string {
  return value.startsWith('sha256=') ? value.slice('sha256='.length) : '';
}

function problemOfHex(signature: string, body: Buffer, secrets: readonly string[]): string | undefined {
  if (signature === '') return unsigned;
  const isRight = secrets.some((secret) =>
    isEqual(createHmac('sha256', secret).update(body).digest('hex'), signature.toLowerCase()),
  );
  return isRight ? undefined : wrong;
}

function problemOfToken(token: string, secrets: readonly string[]): string | undefined {
  if (token === '') return unsigned;
  return secrets.some((secret) => isEqual(secret, token)) ? undefined : wrong;
}

/** https://www.standardwebhooks.com: id, time and body are signed, with the key that is base64 after `whsec_`. */
function problemOfStandard(
  { headers, body }: Signed,
  secrets: readonly string[],
  now: Date,
): string | undefined {
  const [id, time] = [String(headers['webhook-id'] ?? ''), String(headers['webhook-timestamp'] ?? '')];
  if (id === '' || !/^\d{1,12}$/.test(time)) return unsigned;
  if (Math.abs(now.getTime() - Number(time) * 1000) > toleranceMs)
    return 'its time is more than five minutes off';
  const given = String(headers['webhook-signature'])
    .split(' ')
    .flatMap((entry) => (entry.startsWith('v1,') ? [entry.slice('v1,'.length)] : []));
  const isRight = secrets.some((secret) => {
    const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : Buffer.from(secret);
    const expected = createHmac('sha256', key).update(`${id}.${time}.`).update(body).digest('base64');
    return key.length > 0 && given.some((signature) => isEqual(expected, signature));
  });
  return isRight ? undefined : wrong;
}

const unsigned = 'it is not signed';
const wrong = 'its signature is wrong';

function isEqual(expected: string, given: string): boolean {
  const [one, other] = [Buffer.from(expected), Buffer.from(given)];
  return one.length === other.length && timingSafeEqual(one, other);
}
