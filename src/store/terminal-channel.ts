import type { Redis } from 'ioredis';
import type { TerminalMessage, ToCommand, ToPerson } from '../domain/terminal.ts';
import { keys } from './keys.ts';
import type { Sealer } from './sealing.ts';

type Parts = { person: ToCommand; command: ToPerson };

/**
 * Carries what a person and a command say to each other between processes: published, so that it is on no disk and is gone when nobody
 * listens; sealed, since people type passwords. Messages are lost while Redis is away.
 */
export class TerminalChannels {
  readonly #publisher: Redis;
  readonly #subscriber: Redis;
  readonly #sealer: Sealer;
  readonly #listeners = new Map<string, Set<(sealed: string) => void>>();

  /** `publisher` fails when Redis is away instead of waiting; `subscriber` is used for nothing else. */
  constructor(publisher: Redis, subscriber: Redis, sealer: Sealer) {
    this.#publisher = publisher;
    this.#subscriber = subscriber;
    this.#sealer = sealer;
    subscriber.on('message', (channel: string, sealed: string) => {
      for (const listener of this.#listeners.get(channel) ?? []) listener(sealed);
    });
  }

  /** What `who` says in a conversation, from when this resolves. Returns what ends the listening. */
  async listen<Who extends keyof Parts>(
    id: string,
    who: Who,
    hear: (message: TerminalMessage<Parts[Who]>) => void,
  ): Promise<() => void> {
    const channel = keys.terminal(id, who);
    const listener = (sealed: string): void => {
      const text = this.#open(sealed, channel);
      if (text !== undefined) hear(JSON.parse(text) as TerminalMessage<Parts[Who]>);
    };
    const listeners = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, listeners.add(listener));
    await this.#subscriber.subscribe(channel);
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#listeners.get(channel) !== listeners) return;
      this.#listeners.delete(channel);
      void this.#subscriber.unsubscribe(channel).catch(() => {});
    };
  }

  async say<Who extends keyof Parts>(
    id: string,
    who: Who,
    message: TerminalMessage<Parts[Who]>,
  ): Promise<void> {
    const channel = keys.terminal(id, who);
    await this.#publisher.publish(channel, this.#sealer.seal(JSON.stringify(message), channel));
  }

  /** Nothing for what another key or nobody of us sealed. */
  #open(sealed: string, channel: string): string | undefined {
    try {
      return this.#sealer.open(sealed, channel);
    } catch {
      return undefined;
    }
  }
}
