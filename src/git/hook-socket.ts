import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import type { Logger } from '../logger.ts';
import { HookConversation } from './hook-conversation.ts';
import type { ReceivePush } from './push.ts';
import type { PushRegistry } from './push-registry.ts';

export type HookSocketOptions = {
  path: string;
  pushes: PushRegistry;
  receivePush: ReceivePush;
  logger: Logger;
};

/** Where hooks/proc-receive asks what becomes of a push. Only our own user can connect. */
export class HookSocket {
  readonly #options: HookSocketOptions;
  readonly #server: Server;
  readonly #conversations = new Set<HookConversation>();
  readonly #sockets = new Set<Socket>();

  constructor(options: HookSocketOptions) {
    this.#options = options;
    this.#server = createServer((socket) => void this.#converse(socket));
  }

  async listen(): Promise<void> {
    const { path } = this.#options;
    if (Buffer.byteLength(path) > 100)
      throw new Error(`the path of a unix socket is at most 100 bytes: ${path}`);
    await rm(path, { force: true });
    const listening = once(this.#server, 'listening');
    // The umask is the only way to have the right mode from the very first moment; listen() binds at once.
    const umask = process.umask(0o177);
    this.#server.listen(path);
    process.umask(umask);
    await listening;
  }

  /** Refuses what is still being decided, so that its pusher gets a sentence instead of a broken connection. */
  async close(graceMs = 1000): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const conversation of this.#conversations) conversation.close();
    // A pusher that does not read would keep its hook, and so our stop, waiting.
    const timer = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, graceMs);
    await closed;
    clearTimeout(timer);
  }

  async #converse(socket: Socket): Promise<void> {
    const conversation = new HookConversation(socket, this.#options);
    this.#conversations.add(conversation);
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    await conversation.run();
    this.#conversations.delete(conversation);
  }
}
