import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import Docker from 'dockerode';
import { EngineAway } from '../domain/engine-away.ts';
import { type EngineRefusal, refusalOf } from './engine-refusal.ts';

export const defaultSocketPath = '/var/run/docker.sock';

const callTimeoutMs = 30_000;

/** A request whose query and body are kept apart: dockerode copies whole bodies, env included, into the URL otherwise. */
export type RawRequest = { _query: Record<string, string>; _body: object };

export type DialOptions = {
  method: 'GET' | 'POST' | 'PUT';
  /** Ends with `?` when there is a query. */
  path: string;
  query?: Record<string, string>;
  body?: NodeJS.ReadableStream;
  headers?: Record<string, string>;
  signal: AbortSignal;
};

export type UpgradeOptions = {
  path: string;
  protocol: string;
  headers: Record<string, string | string[]>;
  signal: AbortSignal;
};

/** The connection to one engine: every call has a deadline, and an engine that does not answer says so in a sentence. */
export class EngineClient {
  readonly docker: Docker;
  readonly #socketPath: string;

  constructor(socketPath: string = defaultSocketPath) {
    this.#socketPath = socketPath;
    // `host` and `protocol` are spelled out so that DOCKER_HOST in our environment cannot win over the socket.
    this.docker = new Docker({ socketPath, host: undefined, protocol: 'http' });
  }

  /** One ordinary call. The deadline is raced, since docker-modem never settles when an answer breaks off half way. */
  async call<T>(
    doing: string,
    act: (docker: Docker, signal: AbortSignal) => Promise<T>,
    timeoutMs: number = callTimeoutMs,
  ): Promise<T> {
    const controller = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const error = new EngineAway(
          'hanging',
          `the Docker engine did not answer within ${timeoutMs / 1000} s (${doing}); is it hanging?`,
        );
        reject(error);
        controller.abort(error);
      }, timeoutMs);
    });
    try {
      return await Promise.race([act(this.docker, controller.signal), deadline]);
    } catch (error) {
      throw this.explained(error, doing);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Like `call`, for questions where a refusal of the engine is an answer. */
  async ask<T>(
    doing: string,
    act: (docker: Docker, signal: AbortSignal) => Promise<T>,
    timeoutMs?: number,
  ): Promise<{ ok: true; value: T } | { ok: false; refusal: EngineRefusal }> {
    try {
      return { ok: true, value: await this.call(doing, act, timeoutMs) };
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === undefined) throw error;
      return { ok: false, refusal };
    }
  }

  /** A call whose answer is read as it comes; resolves with the headers. Whoever called it destroys the stream. */
  async dial(
    doing: string,
    { method, path, query, body, headers, signal }: DialOptions,
  ): Promise<IncomingMessage> {
    signal.throwIfAborted();
    try {
      return await new Promise<IncomingMessage>((resolve, reject) => {
        this.docker.modem.dial(
          {
            method,
            path,
            options: query === undefined ? {} : { _query: query, _body: {} },
            file: body,
            // docker-modem writes into them.
            headers: { ...headers },
            isStream: true,
            abortSignal: signal,
            statusCodes: { 200: true },
          },
          (error, answer) => (error ? reject(error) : resolve(answer as IncomingMessage)),
        );
      });
    } catch (error) {
      signal.throwIfAborted();
      throw this.explained(error, doing);
    }
  }

  /** Turns a request into a connection of its own; whoever called it destroys that. */
  async upgrade(doing: string, { path, protocol, headers, signal }: UpgradeOptions): Promise<Duplex> {
    signal.throwIfAborted();
    try {
      return await new Promise<Duplex>((resolve, reject) => {
        this.docker.modem.dial(
          {
            method: 'POST',
            path,
            headers: { ...headers, Upgrade: protocol },
            hijack: true,
            abortSignal: signal,
            statusCodes: {},
          },
          (error, socket) => (error ? reject(error) : resolve(socket as Duplex)),
        );
      });
    } catch (error) {
      signal.throwIfAborted();
      throw this.explained(error, doing);
    }
  }

  /** What went wrong with the connection, in a sentence; any other error as it is. */
  explained(error: unknown, doing: string): unknown {
    switch (codeOf(error)) {
      case 'ENOENT':
      case 'ECONNREFUSED':
        return new EngineAway(
          'absent',
          `the Docker engine does not answer at ${this.#socketPath}; start it: systemctl start docker`,
          error,
        );
      case 'EACCES':
        return new Error(
          `no permission to use the Docker engine at ${this.#socketPath} (is this user in the group "docker"?)`,
          { cause: error },
        );
      case 'ECONNRESET':
      case 'EPIPE':
      case 'ERR_STREAM_PREMATURE_CLOSE':
        return new EngineAway('broken', `the connection to the Docker engine broke (${doing})`, error);
      default:
        return error;
    }
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
