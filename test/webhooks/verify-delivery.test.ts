import { createHmac, randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { sign } from '@octokit/webhooks-methods';
import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import type { WebhookProvider } from '../../src/domain/webhook.ts';
import { problemOfSignature } from '../../src/webhooks/verify-delivery.ts';

const secret = `whsec_${randomBytes(32).toString('base64')}`;
const body = Buffer.from('{"text":"grüße 🎉"}');
const now = new Date('2026-11-21T08:00:00Z');
const wrong = 'its signature is wrong';
const unsigned = 'it is not signed';

function problem(
  provider: WebhookProvider,
  headers: IncomingHttpHeaders,
  options: { body?: Buffer; secrets?: string[]; now?: Date } = {},
): string | undefined {
  const delivery = { provider, headers, body: options.body ?? body };
  return problemOfSignature(delivery, options.secrets ?? [secret], options.now ?? now);
}

/** By libraries that are not ours. */
const hmac = async (key = secret): Promise<string> =>
  (await sign(key, body.toString())).replace('sha256=', '');
function standard(id = 'msg_1', at = now, key = secret): IncomingHttpHeaders {
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': new Webhook(key).sign(id, at, body.toString()),
  };
}

describe('what is signed with the secret is believed', () => {
  test('by all providers, each in its way', async () => {
    const hex = await hmac();
    expect(problem('github', { 'x-hub-signature-256': `sha256=${hex}` })).toBeUndefined();
    expect(problem('bitbucket', { 'x-hub-signature': `sha256=${hex}` })).toBeUndefined();
    expect(problem('gitea', { 'x-gitea-signature': hex })).toBeUndefined();
    expect(problem('forgejo', { 'x-forgejo-signature': hex })).toBeUndefined();
    expect(problem('forgejo', { 'x-gitea-signature': hex })).toBeUndefined();
    expect(problem('generic', { 'x-signature-256': `sha256=${hex}` })).toBeUndefined();
    expect(problem('gitlab', { 'x-gitlab-token': secret })).toBeUndefined();
    expect(problem('generic', { authorization: `Bearer ${secret}` })).toBeUndefined();
    expect(problem('gitlab', standard())).toBeUndefined();
    expect(problem('generic', standard())).toBeUndefined();
  });

  test('with either of two secrets, and with one of several signatures', () => {
    const other = `whsec_${randomBytes(32).toString('base64')}`;
    expect(problem('generic', standard(), { secrets: [other, secret] })).toBeUndefined();
    const both = `v1,AAAA ${String(standard()['webhook-signature'])} v2,x`;
    expect(problem('gitlab', { ...standard(), 'webhook-signature': both })).toBeUndefined();
  });
});

describe('what is not is refused', () => {
  const providers = ['github', 'gitlab', 'gitea', 'forgejo', 'bitbucket', 'generic'] as const;

  test.each(providers)('%s: without a signature', (provider) => {
    expect(problem(provider, {})).toBe(unsigned);
    const empty = Object.fromEntries(
      ['x-hub-signature-256', 'x-hub-signature', 'x-gitea-signature', 'x-gitlab-token'].map((name) => [
        name,
        '',
      ]),
    );
    expect(problem(provider, empty)).toBe(unsigned);
    expect(problem(provider, {}, { secrets: [''] })).toBe(unsigned);
  });

  test('with another secret, over other bytes, with SHA-1', async () => {
    const hex = await hmac();
    const changed = { body: Buffer.from('{}') };
    expect(problem('github', { 'x-hub-signature-256': `sha256=${await hmac('other')}` })).toBe(wrong);
    expect(problem('github', { 'x-hub-signature-256': `sha256=${hex}` }, changed)).toBe(wrong);
    const sha1 = createHmac('sha1', secret).update(body).digest('hex');
    expect(problem('github', { 'x-hub-signature': `sha1=${sha1}` })).toBe(unsigned);
    expect(problem('bitbucket', { 'x-hub-signature': `sha1=${sha1}` })).toBe(unsigned);
    expect(problem('gitea', { 'x-gitea-signature': hex.slice(1) })).toBe(wrong);
    expect(problem('gitlab', { 'x-gitlab-token': `${secret} ` })).toBe(wrong);
    expect(problem('gitlab', standard(), changed)).toBe(wrong);
  });

  test('with an empty secret, which would fit what anybody signs with nothing', () => {
    const hex = createHmac('sha256', '').update(body).digest('hex');
    expect(problem('github', { 'x-hub-signature-256': `sha256=${hex}` }, { secrets: [''] })).toBe(wrong);
    expect(problem('github', { 'x-hub-signature-256': `sha256=${hex}` }, { secrets: [] })).toBe(wrong);
    const keyless = createHmac('sha256', '').update('msg_1.1.').update(body).digest('base64');
    const headers = { ...standard(), 'webhook-signature': `v1,${keyless}` };
    expect(problem('gitlab', headers, { secrets: ['whsec_'] })).toBe(wrong);
  });

  test('with a signature of Gitea beside a wrong one of Forgejo', async () => {
    const headers = { 'x-forgejo-signature': await hmac('other'), 'x-gitea-signature': await hmac() };
    expect(problem('forgejo', headers)).toBe(wrong);
  });

  test('when it was signed long ago, or is yet to come', () => {
    const off = 'its time is more than five minutes off';
    const at = (minutes: number): Date => new Date(now.getTime() + minutes * 60_000);
    expect(problem('gitlab', standard(), { now: at(4) })).toBeUndefined();
    expect(problem('gitlab', standard(), { now: at(6) })).toBe(off);
    expect(problem('gitlab', standard(), { now: at(-6) })).toBe(off);
    expect(problem('gitlab', { ...standard(), 'webhook-timestamp': '' })).toBe(unsigned);
    expect(problem('gitlab', { ...standard(), 'webhook-id': 'msg_2' })).toBe(wrong);
  });
});
