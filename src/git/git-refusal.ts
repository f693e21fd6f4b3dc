import type { IncomingMessage, ServerResponse } from 'node:http';

/** A request that ends with a sentence instead of git's protocol. git shows it only on the first request of a push. */
export class GitRefusal extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(status: number, text: string, headers: Record<string, string> = {}) {
    super(text);
    this.name = 'GitRefusal';
    this.status = status;
    this.headers = headers;
  }
}

/** How much of an unwanted body is read so that a small one's sender gets to see the answer, not a reset connection. */
const politeBytes = 2 * 1024 * 1024;
const politeMs = 5000;

export function sendRefusal(req: IncomingMessage, res: ServerResponse, refusal: GitRefusal): void {
  if (res.headersSent || res.destroyed) {
    res.destroy();
    return;
  }
  const body = `${refusal.message}\n`;
  const isBodyRead = req.readableEnded || req.method === 'GET';
  res.writeHead(refusal.status, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    ...(!isBodyRead && { Connection: 'close' }),
    ...refusal.headers,
  });
  res.end(req.method === 'HEAD' ? undefined : body);
  if (!isBodyRead) discardSome(req);
}

function discardSome(req: IncomingMessage): void {
  let bytes = 0;
  const timer = setTimeout(() => req.destroy(), politeMs);
  req.on('close', () => clearTimeout(timer));
  req.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > politeBytes) req.destroy();
  });
  req.resume();
}
