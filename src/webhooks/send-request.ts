import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import { rootCertificates } from 'node:tls';
import { messageOf } from '../errors.ts';
import { timeoutSignal } from '../timeout-signal.ts';

export type SendSettings = {
  /** Where a host is, if it may be sent to. */
  resolve: (host: string) => Promise<{ address: string } | { problem: string; hint?: string }>;
  timeoutMs: number;
  /** More certificates of authorities to trust. */
  ca: string | undefined;
  userAgent: string;
};

export type SentRequest = { url: string; headers: Record<string, string>; body: string };

export type SendResult =
  /** `retryAfter`: seconds. */
  | { status: number; text: string; retryAfter: number | undefined }
  /** There was no answer. */
  | { problem: string };

const mostOfAnswer = 8192;

/** Sends one POST to the address that was checked, whatever the name server says later; redirects are not followed. */
export async function sendRequest(sent: SentRequest, settings: SendSettings): Promise<SendResult> {
  const url = new URL(sent.url);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const found = await settings.resolve(host);
  if ('problem' in found)
    return { problem: [found.problem, found.hint].filter((text) => text !== undefined).join('; ') };
  const { address } = found;
  const signal = timeoutSignal(settings.timeoutMs);
  const options = {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'user-agent': settings.userAgent,
      ...sent.headers,
      'content-length': Buffer.byteLength(sent.body),
    },
    agent: false,
    signal,
    host: address,
    port: url.port,
    path: `${url.pathname}${url.search}`,
    setHost: false,
  } as const;
  const headers = { ...options.headers, host: url.host };
  try {
    const req =
      url.protocol === 'https:'
        ? httpsRequest({
            ...options,
            headers,
            ...(isIP(host) === 0 && { servername: host }),
            ...(settings.ca !== undefined && { ca: [...rootCertificates, settings.ca] }),
          })
        : httpRequest({ ...options, headers });
    return await answerTo(req, sent.body);
  } catch (error) {
    if (signal.aborted) return { problem: `no answer within ${settings.timeoutMs / 1000} s` };
    const { code } = error as { code?: string };
    return { problem: `it cannot be reached: ${code ?? messageOf(error)}` };
  }
}

function answerTo(req: ClientRequest, body: string): Promise<SendResult> {
  return new Promise((resolve, reject) => {
    req.on('error', reject);
    req.on('response', (res: IncomingMessage) => {
      let text = '';
      const done = (): void => {
        const status = res.statusCode ?? 0;
        const wait = Number(res.headers['retry-after']);
        resolve({ status, text, retryAfter: Number.isFinite(wait) && wait > 0 ? wait : undefined });
        req.destroy();
      };
      res.setEncoding('utf8');
      res.on('data', (chunk: string) => {
        text = (text + chunk).slice(0, mostOfAnswer);
        // What matters has been said; nobody keeps us here with a long answer.
        if (text.length === mostOfAnswer) done();
      });
      res.on('end', done);
      res.on('error', reject);
    });
    req.end(body);
  });
}
