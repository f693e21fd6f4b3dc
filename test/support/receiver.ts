import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

export type Received = {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
};

type Answer = (received: Received, res: ServerResponse) => void;

/** Somebody who is told about deployments, on loopback: keeps what comes and answers 204, or as it is told. */
export async function startReceiver(options: { tls?: { key: Buffer; cert: Buffer }; port?: number } = {}) {
  const received: Received[] = [];
  let answer: Answer = (_, res) => res.writeHead(204).end();
  const handler: Parameters<typeof createServer>[1] = (req, res) => {
    let body = '';
    req.setEncoding('utf8');
    req.on('data', (chunk: string) => {
      body += chunk;
    });
    req.on('end', () => {
      const one = { method: req.method ?? '', path: req.url ?? '', headers: req.headers, body };
      received.push(one);
      answer(one, res);
    });
  };
  const server = options.tls ? createTlsServer(options.tls, handler) : createServer(handler);
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    received,
    answerWith(next: number | Answer): void {
      answer = typeof next === 'number' ? (_, res) => res.writeHead(next).end() : next;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
