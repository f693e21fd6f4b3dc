import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export type Answer = { status: number; headers: IncomingHttpHeaders; body: string };
export type Ask = {
  port: number;
  host: string;
  path?: string;
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  agent?: Agent;
};

/** One request; a broken connection or a short body rejects. */
export function ask({ port, host, path = '/', method, headers = {}, body, agent }: Ask): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: '127.0.0.1',
        port,
        path,
        agent: agent ?? false,
        method: method ?? (body === undefined ? 'GET' : 'POST'),
        headers: { host, ...headers },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString(),
          }),
        );
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Which upstream answered, or the status when none did. */
export async function servedBy(port: number, host: string, path = '/', method = 'GET'): Promise<string> {
  const { status, headers } = await ask({ port, host, path, method });
  return typeof headers['x-served-by'] === 'string' ? headers['x-served-by'] : String(status);
}

/** A client with one connection that never opens another: Node's own would paper over a reset between two requests. */
export class StubbornClient {
  readonly #socket: Socket;
  #closed = false;
  /** The last answer said "connection: close". */
  wasToldToClose = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#closed = true;
    });
  }

  static async connect(port: number): Promise<StubbornClient> {
    const socket = connect(port, '127.0.0.1');
    await new Promise((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new StubbornClient(socket);
  }

  /** The id of the upstream, the status of an answer of the router's own, or `closed`. */
  get(host: string): Promise<string> {
    if (this.#closed) return Promise.resolve('closed');
    return new Promise((resolve) => {
      let text = '';
      const finish = (result: string) => {
        this.#socket.off('data', onData);
        this.#socket.off('close', onClose);
        resolve(result);
      };
      const onClose = () => finish('closed');
      const onData = (chunk: Buffer) => {
        text += chunk.toString('latin1');
        const end = text.indexOf('\r\n\r\n');
        const length = Number(/^content-length: (\d+)/im.exec(text)?.[1] ?? 0);
        if (end === -1 || text.length < end + 4 + length) return;
        this.wasToldToClose = /^connection: close/im.test(text.slice(0, end));
        finish(/^x-served-by: (\S+)/im.exec(text)?.[1] ?? (text.split(' ')[1] || 'nothing'));
      };
      this.#socket.on('data', onData);
      this.#socket.once('close', onClose);
      this.#socket.write(`GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
    });
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

export type Load = { ok: number; failures: string[]; stop(): Promise<void> };

/** Clients of four kinds, for ever; everything but a whole 200 is a failure. */
export function startLoad(port: number, host: string): Load {
  const load = { ok: 0, failures: [] as string[], stop };
  let stopping = false;
  const agent = new Agent({ keepAlive: true, maxSockets: 6 });
  const loops = [
    ...repeat(3, () => get({ agent })),
    ...repeat(2, () => get({})),
    ...repeat(2, async () => {
      const body = 'x'.repeat(20_000);
      const answer = await ask({ port, host, body, agent });
      if (answer.body !== String(body.length))
        throw new Error(`POST ${answer.status} ${answer.body.slice(0, 80)}`);
    }),
    ...Array.from({ length: 6 }, async (_, index) => {
      using client = await StubbornClient.connect(port);
      // Longer between two requests than a swap takes. A close in an answer is fine, one in between is not.
      let current: StubbornClient = client;
      while (!stopping) {
        const result = await current.get(host);
        if (/^v\d+$/.test(result)) load.ok += 1;
        else load.failures.push(`idle client: ${result}`);
        await sleep(150 + index * 70);
        if (current.wasToldToClose || result === 'closed') {
          current[Symbol.dispose]();
          current = await StubbornClient.connect(port);
        }
      }
      current[Symbol.dispose]();
    }),
  ];

  async function get(options: Partial<Ask>): Promise<void> {
    const answer = await ask({ port, host, ...options });
    if (answer.status !== 200) throw new Error(`GET ${answer.status}`);
  }

  function repeat(times: number, once: () => Promise<void>): Promise<void>[] {
    return Array.from({ length: times }, async () => {
      while (!stopping) {
        await once().then(
          () => {
            load.ok += 1;
          },
          (error: unknown) => load.failures.push(String(error)),
        );
        await sleep(2);
      }
    });
  }

  async function stop(): Promise<void> {
    stopping = true;
    await Promise.all(loops);
    agent.destroy();
  }
  return load;
}
