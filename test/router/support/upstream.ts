import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { WebSocketServer } from 'ws';
import type { Endpoint } from '../../../src/domain/route.ts';

/** An app as rude as they come: it dies without finishing anything. */
export class Upstream {
  readonly id: string;
  readonly endpoint: Endpoint;
  /** Connections that carried a request; health checks do not. */
  readonly connections = new Set<Socket>();
  requests = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(id: string, server: Server) {
    this.id = id;
    this.#server = server;
    const { port } = server.address() as AddressInfo;
    this.endpoint = { container: id, address: '127.0.0.1', port, release: 1 };
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    server.on('request', (request, response) => {
      this.requests += 1;
      this.connections.add(request.socket);
      answer(id, request, response);
    });
    const webSockets = new WebSocketServer({ server });
    webSockets.on('connection', (socket) =>
      socket.on('message', (text: Buffer) => socket.send(`${id} ${text.toString()}`)),
    );
  }

  static async start(id: string): Promise<Upstream> {
    const server = createServer({ keepAliveTimeout: 60_000 });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new Upstream(id, server);
  }

  /** Like SIGKILL: the port refuses at once and open connections break. */
  kill(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  [Symbol.dispose](): void {
    this.kill();
  }
}

/** `/` who answered and what it got; `/slow?ms=N`; `/events` two server-sent events; POST echoes the size. */
function answer(id: string, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', 'http://upstream');
  response.setHeader('x-served-by', id);
  if (request.method === 'POST' && url.pathname === '/') {
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
    });
    request.on('end', () => response.end(String(size)));
    return;
  }
  const ms = Number(url.searchParams.get('ms') ?? 0);
  if (url.pathname === '/slow') {
    setTimeout(() => response.end('slow'), ms);
    return;
  }
  if (url.pathname === '/events') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: first\n\n');
    setTimeout(() => response.end('data: second\n\n'), ms);
    return;
  }
  response.end(JSON.stringify({ id, path: request.url, headers: request.headers }));
}
