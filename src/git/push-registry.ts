import type { Account } from '../domain/account.ts';
import type { AppName } from '../domain/app.ts';

export type PushContext = {
  app: AppName;
  account: Account;
  address: string;
  /** False once the pusher's connection is gone. */
  isWatched: () => boolean;
  /** git has called the hook: the upload is over and stored. */
  uploaded: () => void;
};

/**
 * Which push a running git-receive-pack belongs to. The hook proves whose it is by its parent's process id,
 * the one thing about a push that the pusher cannot choose.
 */
export class PushRegistry {
  readonly #contexts = new Map<number, PushContext>();

  add(pid: number, context: PushContext): void {
    this.#contexts.set(pid, context);
  }

  remove(pid: number): void {
    this.#contexts.delete(pid);
  }

  find(pid: number): PushContext | undefined {
    return this.#contexts.get(pid);
  }

  get size(): number {
    return this.#contexts.size;
  }
}
