import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';

/**
 * What node-git-server gets instead of the real request and response. It re-emits every error of the request on
 * an object without listeners and stops reading when a client goes away, which ends the process or leaves git hanging;
 * on these streams neither can happen. No headers: its own parsing of them is never reached.
 */
export function requestDouble(method: 'GET' | 'POST', url: string) {
  const stream = new PassThrough();
  Object.assign(stream, { method, url, headers: {}, httpVersion: '1.1', socket: null });
  return { stream, asRequest: stream as unknown as IncomingMessage };
}

export function responseDouble() {
  const stream = new PassThrough();
  const ignore = () => stream;
  Object.assign(stream, {
    statusCode: 200,
    setHeader: ignore,
    getHeader: () => undefined,
    removeHeader: ignore,
    writeHead: ignore,
  });
  return { stream, asResponse: stream as unknown as ServerResponse };
}
