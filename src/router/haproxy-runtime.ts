import { connect } from 'node:net';
import { backendName, type HaproxyPaths, httpFrontend, slotName } from './haproxy-config.ts';
import {
  type Processes,
  parseBackends,
  parseFailures,
  parseHosts,
  parseInFlight,
  parseInfo,
  parseProcesses,
  parseRequestTimes,
  parseResponses,
  parseSessions,
  type RequestTimes,
  type Responses,
  UnexpectedReply,
} from './haproxy-replies.ts';
import type { Backends, Hosts, Target } from './slots.ts';
import { waitUntil } from './wait-until.ts';

/** One server line: the unit of every command. */
export type SlotAddress = { app: string; index: number };

/**
 * HAProxy's two command sockets. The runtime socket belongs to the worker that takes new connections; the master socket
 * reaches every worker by pid. Anything but the expected reply throws.
 */
export class HaproxyRuntime {
  readonly #paths: HaproxyPaths;

  constructor(paths: HaproxyPaths) {
    this.#paths = paths;
  }

  /** The pid of the worker that takes new connections. Throws when HAProxy does not answer. */
  async workerPid(): Promise<number> {
    return Number(parseInfo(await this.#worker('show info'), 'Pid'));
  }

  async backends(): Promise<Backends> {
    return parseBackends(await this.#worker('show servers state'));
  }

  async backend(app: string): Promise<Backends> {
    return parseBackends(await this.#worker(`show servers state ${backendName(app)}`));
  }

  async hosts(): Promise<Hosts> {
    return parseHosts(await this.#worker(`show map ${this.#paths.hosts}`));
  }

  async point(slot: SlotAddress, { address, port }: Target): Promise<void> {
    const command = `set server ${server(slot)} addr ${address} port ${port}`;
    await this.#expect(command, /^(?:IP changed from|no need to change the addr)/);
  }

  async setState(slot: SlotAddress, state: 'ready' | 'drain' | 'maint'): Promise<void> {
    await this.#expect(`set server ${server(slot)} state ${state}`, /^$/);
  }

  async addHost(host: string, app: string): Promise<void> {
    await this.#expect(`add map ${this.#paths.hosts} ${host} ${backendName(app)}`, /^$/);
  }

  async setHost(host: string, app: string): Promise<void> {
    await this.#expect(`set map ${this.#paths.hosts} ${host} ${backendName(app)}`, /^$/);
  }

  async removeHost(host: string): Promise<void> {
    await this.#expect(`del map ${this.#paths.hosts} ${host}`, /^$/);
  }

  async processes(): Promise<Processes> {
    return parseProcesses(await this.#master('show proc'));
  }

  /**
   * What SIGUSR2 does, but also to a master in another container. Version 2.6 closes the connection without a word, later
   * ones answer when it is over: whoever asks looks at the processes to learn how it ended.
   */
  async startReload(): Promise<void> {
    await this.#master('reload').catch(() => undefined);
  }

  /** A stopping worker hands new requests to its successor. */
  async isStopping(worker: number): Promise<boolean> {
    return parseInfo(await this.#master(`@!${worker} show info`), 'Stopping') === '1';
  }

  /**
   * Requests in flight at a slot, summed over every worker, old ones too. Throws when any of them does not answer, as
   * happens during a reload: not knowing is not zero.
   */
  async inFlight(slot: SlotAddress): Promise<number> {
    const counts = await this.#everyWorker(`show stat ${backendName(slot.app)} 4 -1`, (reply) =>
      parseInFlight(reply, slotName(slot.index)),
    );
    return [...counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Requests of an app that got no whole answer, by worker. */
  failures(app: string): Promise<ReadonlyMap<number, number>> {
    return this.#everyWorker(`show stat ${backendName(app)} 2 -1`, parseFailures);
  }

  /** What visitors were answered by the worker that takes new connections; the numbers begin anew with it. */
  async responses(): Promise<Responses> {
    return parseResponses(await this.#worker(`show stat ${httpFrontend} 1 -1`));
  }

  async requestTimes(): Promise<RequestTimes | undefined> {
    return parseRequestTimes(await this.#worker('show stat -1 2 -1'));
  }

  /** Cuts everything in flight at a slot, in every worker. */
  async shutDownSessions(slot: SlotAddress): Promise<void> {
    await this.#expect(`shutdown sessions server ${server(slot)}`, /^$/);
    const { oldWorkers } = await this.processes();
    await Promise.all(oldWorkers.map((pid) => this.#shutDownInOldWorker(pid, slot)));
  }

  /**
   * An old worker answers "Proxy is disabled" to `shutdown sessions server`, so each session is cut by itself. A safe
   * request without an answer is then retried, and an old worker knows no better server than the same one: it takes as
   * many rounds as there are retries until it gives up.
   */
  async #shutDownInOldWorker(pid: number, slot: SlotAddress): Promise<void> {
    await waitUntil({ forMs: 5_000, everyMs: 20 }, async () => {
      // It ends with its last session.
      if (!(await this.processes()).oldWorkers.includes(pid)) return true;
      const reply = await this.#master(`@!${pid} show sess`);
      const sessions = parseSessions(reply, backendName(slot.app), slotName(slot.index));
      for (const session of sessions) await this.#master(`@!${pid} shutdown session ${session}`);
      return sessions.length === 0 ? true : undefined;
    });
  }

  /** What `parse` makes of the answers, by pid. */
  async #everyWorker<T>(command: string, parse: (reply: string) => T): Promise<ReadonlyMap<number, T>> {
    const { worker, oldWorkers } = await this.processes();
    if (worker === undefined) throw new Error('HAProxy has no worker at the moment');
    return new Map(
      await Promise.all(
        [worker, ...oldWorkers].map(
          async (pid): Promise<[number, T]> => [pid, parse(await this.#master(`@!${pid} ${command}`))],
        ),
      ),
    );
  }

  async #expect(command: string, expected: RegExp): Promise<void> {
    const reply = (await this.#worker(command)).trim();
    if (!expected.test(reply)) throw new UnexpectedReply(command, reply);
  }

  #worker(command: string): Promise<string> {
    return ask(this.#paths.runtime, command);
  }

  #master(command: string): Promise<string> {
    return ask(this.#paths.master, command);
  }
}

function server({ app, index }: SlotAddress): string {
  return `${backendName(app)}/${slotName(index)}`;
}

const replyTimeoutMs = 5_000;

/** One command on a connection of its own. The master socket answers only once our side is closed. */
function ask(path: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true });
    const chunks: Buffer[] = [];
    const fail = (cause: Error) => {
      socket.destroy();
      reject(new Error(`HAProxy did not answer "${command}": ${cause.message}`, { cause }));
    };
    const timer = setTimeout(() => fail(new Error(`no reply within ${replyTimeoutMs} ms`)), replyTimeoutMs);
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', fail);
    socket.on('close', () => clearTimeout(timer));
    socket.on('end', () => {
      socket.destroy();
      const reply = Buffer.concat(chunks).toString();
      // Every whole reply ends in an empty line; a worker that goes away in the middle leaves half of one.
      if (reply === '\n' || reply.endsWith('\n\n')) resolve(reply.slice(0, -1));
      else fail(new Error(reply.trim() || 'the connection was closed without a reply'));
    });
    socket.end(`${command}\n`);
  });
}
