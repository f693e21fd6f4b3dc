import { Agent } from 'node:http';
import { requestHost } from './rig.ts';

/**
 * Visitors that never stop coming: a steady rate of requests, half over kept connections, half over new ones.
 * Whatever is not a 200 with a version is a failure, and so is an answer that never comes.
 */
export class Visitors {
  readonly failures: string[] = [];
  readonly versions: string[] = [];
  requests = 0;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 20 });
  readonly #pending = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;
  readonly #port: number;
  readonly #host: string;

  constructor(port: number, host: string, perSecond: number) {
    this.#port = port;
    this.#host = host;
    const everyMs = Math.max(10, 1000 / perSecond);
    const each = Math.round((perSecond * everyMs) / 1000);
    this.#timer = setInterval(() => {
      for (let count = 0; count < each; count += 1)
        this.#come(this.requests % 2 === 0 ? this.#agent : undefined);
    }, everyMs);
  }

  /** Ends the stream of visitors; resolves when the last one has left. */
  async leave(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#pending);
    this.#agent.destroy();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.leave();
  }

  #come(agent: Agent | undefined): void {
    this.requests += 1;
    const visit = requestHost(this.#port, this.#host, '/', agent)
      .then((answer) => {
        if (answer.status !== 200)
          this.failures.push(
            `${agent ? 'kept' : 'new'} connection: ${answer.status} ${answer.body.slice(0, 80)}`,
          );
        else if (this.versions.at(-1) !== answer.body) this.versions.push(answer.body);
      })
      .catch((error: Error) => {
        this.failures.push(`${agent ? 'kept' : 'new'} connection: ${error.message}`);
      })
      .finally(() => this.#pending.delete(visit));
    this.#pending.add(visit);
  }
}
