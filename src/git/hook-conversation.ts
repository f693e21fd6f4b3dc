import { once } from 'node:events';
import type { Socket } from 'node:net';
import { renderLogLine } from '../domain/log-line.ts';
import { redisRefusal, UserError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { type HookRequest, parseHookRequest, printFrame, reportFrame } from './hook-messages.ts';
import type { ReceivePush, RefReport } from './push.ts';
import type { PushRegistry } from './push-registry.ts';

const longestRequest = 16 * 1024 * 1024;

export type HookConversationOptions = { pushes: PushRegistry; receivePush: ReceivePush; logger: Logger };

/** One push, as its hook sees it: a request, log lines back at the pace they are read, and the verdict. */
export class HookConversation {
  readonly #socket: Socket;
  readonly #options: HookConversationOptions;
  readonly #left = new AbortController();
  #request: HookRequest | undefined;

  constructor(socket: Socket, options: HookConversationOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.on('error', () => {});
    socket.once('close', () => this.#left.abort(new Error('git is gone')));
  }

  /** Never rejects: whatever goes wrong refuses the push. */
  async run(): Promise<void> {
    try {
      this.#request = await this.#readRequest();
      this.#report(await this.#decide(this.#request));
    } catch (error) {
      if (!this.#left.signal.aborted) this.#options.logger.error({ err: error }, 'push could not be decided');
      if (error instanceof UserError && error.hint)
        await this.#print(renderLogLine({ kind: 'hint', text: error.hint })).catch(() => {});
      this.#refuseAll(
        error instanceof UserError ? error.message : (redisRefusal(error)?.reason ?? 'internal error'),
      );
    }
  }

  close(): void {
    this.#refuseAll('deploy server is restarting');
    this.#left.abort(new Error('the server is stopping'));
  }

  async #decide(request: HookRequest): Promise<RefReport[]> {
    const context = this.#options.pushes.find(request.pid);
    if (!context) throw new Error(`no push runs as process ${request.pid}`);
    context.uploaded();
    const { updates, options } = request;
    const { app, account, address, isWatched } = context;
    return this.#options.receivePush(
      { app, account, address, updates, options, isWatched },
      (line) => this.#print(line),
      this.#left.signal,
    );
  }

  async #print(line: string): Promise<void> {
    this.#left.signal.throwIfAborted();
    if (!this.#socket.write(printFrame(line)))
      await once(this.#socket, 'drain', { signal: this.#left.signal });
  }

  #refuseAll(reason: string): void {
    this.#report((this.#request?.updates ?? []).map(({ ref }) => ({ ref, status: 'refused', reason })));
  }

  #report(reports: readonly RefReport[]): void {
    // Without a request there is nothing to answer; the hook refuses by itself when the connection ends.
    if (!this.#request) this.#socket.destroy();
    else if (this.#socket.writable) this.#socket.end(reportFrame(this.#request, reports));
  }

  #readRequest(): Promise<HookRequest> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      // The listener stays: only a socket that is being read notices that the hook is gone.
      this.#socket.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > longestRequest) return reject(new Error('the push has too many refs'));
        chunks.push(chunk);
        // A flush packet ends it, and reading all of it again after every chunk would take its time.
        if (chunks.length > 1 && Buffer.concat(chunks.slice(-4)).toString('latin1').slice(-4) !== '0000')
          return;
        try {
          const request = parseHookRequest(Buffer.concat(chunks));
          if (request) resolve(request);
        } catch (error) {
          reject(error as Error);
        }
      });
      this.#left.signal.addEventListener('abort', () => reject(new Error('the hook left')), { once: true });
    });
  }
}
