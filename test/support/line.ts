import { connect, createServer, type Server, type Socket } from 'node:net';

/** A line to a port of this machine that can be cut and mended. */
export class Line {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;
  #isCut = false;

  private constructor(server: Server, port: number, sockets: Set<Socket>) {
    this.#server = server;
    this.#sockets = sockets;
    this.port = port;
  }

  static async to(target: number): Promise<Line> {
    const sockets = new Set<Socket>();
    const server = createServer((near) => {
      if (line.#isCut) return near.destroy();
      const far = connect(target, '127.0.0.1');
      for (const socket of [near, far]) {
        sockets.add(socket.on('error', () => {}).on('close', () => sockets.delete(socket)));
        socket.setNoDelay(true);
      }
      near.on('close', () => far.destroy()).pipe(far);
      far.on('close', () => near.destroy()).pipe(near);
      return undefined;
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const line = new Line(server, typeof address === 'object' && address ? address.port : 0, sockets);
    return line;
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#isCut = false;
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
