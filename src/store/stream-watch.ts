import type { Redis } from 'ioredis';

type Waiter = { key: string; afterId: string; resolve: () => void };

/**
 * Tells any number of followers that a Redis stream has something new, over one blocking connection. It carries no
 * data: a follower reads for itself, at its own pace.
 */
export class StreamWatch {
  readonly #blocking: Redis;
  readonly #commands: Redis;
  readonly #waiters = new Set<Waiter>();
  #loop: Promise<void> | undefined;
  #clientId: Promise<number> | undefined;
  /** The streams the present read waits for, and from where. */
  #blockedOn: ReadonlyMap<string, string> = new Map();
  #closed = false;

  /** `blocking` is used for nothing else; `commands` may be shared. */
  constructor(blocking: Redis, commands: Redis) {
    this.#blocking = blocking;
    this.#commands = commands;
    blocking.on('close', () => {
      this.#clientId = undefined;
    });
  }

  /** Resolves once the stream has an entry after `afterId`; rejects with the signal's reason on abort. */
  async next(key: string, afterId: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const waiter: Waiter = { key, afterId, resolve: () => finish(resolve) };
      const onAbort = () => finish(() => reject(signal.reason as Error));
      const finish = (settle: () => void) => {
        this.#waiters.delete(waiter);
        signal.removeEventListener('abort', onAbort);
        settle();
      };
      signal.addEventListener('abort', onAbort);
      this.#waiters.add(waiter);
      if (!this.#loop) this.#loop = this.#run().finally(() => (this.#loop = undefined));
      else if (!this.#isServed(waiter)) void this.#unblock(waiter);
    });
  }

  close(): void {
    this.#closed = true;
    this.#blocking.disconnect();
  }

  async #run(): Promise<void> {
    // Let everybody who asks in this tick be part of the first read.
    await Promise.resolve();
    while (this.#waiters.size > 0 && !this.#closed) {
      const after = new Map<string, string>();
      for (const { key, afterId } of this.#waiters) {
        const other = after.get(key);
        if (other === undefined || isBefore(afterId, other)) after.set(key, afterId);
      }
      this.#blockedOn = after;
      try {
        this.#clientId ??= this.#blocking.client('ID');
        await this.#clientId;
        const found = await this.#blocking.xread(
          'COUNT',
          1,
          'BLOCK',
          5000,
          'STREAMS',
          ...after.keys(),
          ...after.values(),
        );
        this.#blockedOn = new Map();
        for (const [key] of found ?? []) {
          for (const waiter of this.#waiters) if (waiter.key === key) waiter.resolve();
        }
      } catch {
        this.#blockedOn = new Map();
        if (this.#closed) return;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      // Followers that were just served come back for more before the next read.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #isServed(waiter: Waiter): boolean {
    const after = this.#blockedOn.get(waiter.key);
    return after !== undefined && !isBefore(waiter.afterId, after);
  }

  /** The read that blocks now does not know the waiter's stream: end it, and again if it had not begun to block yet. */
  async #unblock(waiter: Waiter): Promise<void> {
    while (this.#waiters.has(waiter) && !this.#isServed(waiter) && this.#loop && !this.#closed) {
      const id = await this.#clientId?.catch(() => undefined);
      if (id !== undefined) await this.#commands.client('UNBLOCK', id).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

function isBefore(a: string, b: string): boolean {
  const [aTime = 0, aSeq = 0] = a.split('-').map(Number);
  const [bTime = 0, bSeq = 0] = b.split('-').map(Number);
  return aTime === bTime ? aSeq < bSeq : aTime < bTime;
}
