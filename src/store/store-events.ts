import type { Redis } from 'ioredis';
import { keys, type StoreEvent } from './keys.ts';

/** How long to trust that a missed hint will come. */
const pollMs = 500;
/** Who only listens does not notice that nobody speaks any more. */
const askEveryMs = 10_000;

/** Hints that something in the store changed, from every process. A hint may be lost; waiting also looks by itself. */
export class StoreEvents {
  readonly #subscriber: Redis;
  readonly #listeners = new Set<(event: StoreEvent) => void>();
  #asking: NodeJS.Timeout | undefined;

  /** `subscriber` is used for nothing else. */
  constructor(subscriber: Redis) {
    this.#subscriber = subscriber;
    subscriber.on('message', (_channel: string, text: string) => {
      const event = JSON.parse(text) as StoreEvent;
      for (const listener of this.#listeners) listener(event);
    });
  }

  async start(): Promise<void> {
    await this.#subscriber.subscribe(keys.channel);
    this.#asking = setInterval(() => void this.#subscriber.ping().catch(() => {}), askEveryMs);
  }

  /** Returns what ends the listening. */
  listen(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Asks `check` now and after every hint that `concerns` it, until it is true (true) or the time is over (false). */
  async until(
    check: () => Promise<boolean>,
    concerns: (event: StoreEvent) => boolean,
    limitMs: number,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const deadline = performance.now() + limitMs;
    let wake = (): void => {};
    let hinted = false;
    const stopListening = this.listen((event) => {
      if (!concerns(event)) return;
      hinted = true;
      wake();
    });
    const onAbort = (): void => wake();
    signal?.addEventListener('abort', onAbort);
    try {
      for (;;) {
        signal?.throwIfAborted();
        hinted = false;
        if (await check()) return true;
        const left = deadline - performance.now();
        if (left <= 0) return false;
        if (hinted) continue;
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, Math.min(left, pollMs));
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    } finally {
      stopListening();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  close(): void {
    clearInterval(this.#asking);
    this.#subscriber.disconnect();
  }
}
