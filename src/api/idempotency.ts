import type { FastifyInstance } from 'fastify';
import { UserError } from '../errors.ts';
import type { AnswerStore, KeyedRequest } from '../store/answer-store.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Set while a request with an `Idempotency-Key` is carried out. */
    keyed: { request: KeyedRequest; attempt: string } | undefined;
    /** The answer is one that was given before; nothing was done. */
    isRepeated: boolean;
  }
}

/** Headers of an answer that belong to it, and not to the connection. */
const kept = ['content-type', 'location', 'cache-control', 'etag', 'link'];

/**
 * A POST with an `Idempotency-Key` is carried out once: asked again with the same key and body, it gets the same answer for
 * 24 hours. What failed on our side may be tried again.
 */
export function carryOutOnce(api: FastifyInstance, answers: AnswerStore): void {
  api.decorateRequest('keyed');
  api.decorateRequest('isRepeated', false);

  api.addHook('preHandler', async (request, reply) => {
    const key = request.headers['idempotency-key'];
    if (request.method !== 'POST' || key === undefined || !request.account) return;
    if (typeof key !== 'string' || !/^[\x21-\x7e]{1,200}$/.test(key))
      throw new UserError('INVALID', 'an Idempotency-Key has 1 to 200 visible ASCII characters');
    const content = JSON.stringify([request.method, request.url, request.body ?? null]);
    const keyed = { tokenId: request.account.tokenId, key, content };
    const begun = await answers.begin(keyed);
    if (begun === 'other')
      throw new UserError('INVALID', 'this Idempotency-Key was used for another request', 'use a new key');
    if (begun === 'running')
      throw new UserError(
        'CONFLICT',
        'the request with this Idempotency-Key is not over yet',
        'try again',
        1,
      );
    if ('attempt' in begun) {
      request.keyed = { request: keyed, attempt: begun.attempt };
      return;
    }
    request.isRepeated = true;
    return reply
      .status(begun.status)
      .headers(begun.headers)
      .header('idempotent-replayed', 'true')
      .serializer((body: string) => body)
      .send(begun.body);
  });

  api.addHook('onSend', async (request, reply, payload) => {
    const { keyed } = request;
    if (!keyed) return;
    if (reply.statusCode >= 500) return answers.forget(keyed.request, keyed.attempt);
    const headers = kept.flatMap((name) => {
      const value = reply.getHeader(name);
      return value === undefined ? [] : [[name, String(value)]];
    });
    await answers.finish(keyed.request, keyed.attempt, {
      status: reply.statusCode,
      headers: Object.fromEntries(headers) as Record<string, string>,
      body: typeof payload === 'string' ? payload : '',
    });
  });
}
