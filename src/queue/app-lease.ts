import { randomUUID } from 'node:crypto';
import type { AppName } from '../domain/app.ts';
import { type StopCause, Stopped } from '../domain/deployment.ts';
import type { LeaseStore } from '../store/lease-store.ts';

export type LeaseTiming = { ttlMs: number; renewMs: number; marginMs: number };

export const defaultLeaseTiming: LeaseTiming = { ttlMs: 15_000, renewMs: 5_000, marginMs: 2_000 };

/**
 * The right to deploy one app, held while `signal` is not aborted. It is renewed in the background; when that fails it
 * ends by the local clock *before* Redis lets somebody else in, even if this process slept or Redis is away.
 */
export class AppLease {
  readonly fence: number;
  readonly #store: LeaseStore;
  readonly #app: AppName;
  readonly #owner: string;
  readonly #timing: LeaseTiming;
  readonly #controller = new AbortController();
  #validUntil: number;
  #number = 0;
  #isLost = false;
  #timer: NodeJS.Timeout | undefined;
  #canBeStopped: (cause: StopCause) => boolean = () => true;

  private constructor(
    store: LeaseStore,
    app: AppName,
    owner: string,
    fence: number,
    validUntil: number,
    timing: LeaseTiming,
  ) {
    this.fence = fence;
    this.#store = store;
    this.#app = app;
    this.#owner = owner;
    this.#timing = timing;
    this.#validUntil = validUntil;
  }

  static async acquire(
    store: LeaseStore,
    app: AppName,
    timing: LeaseTiming = defaultLeaseTiming,
  ): Promise<AppLease | { busyForMs: number }> {
    const owner = randomUUID();
    const asked = performance.now();
    const answer = await store.acquire(app, owner, timing.ttlMs);
    if ('busyForMs' in answer) return answer;
    return new AppLease(store, app, owner, answer.fence, asked + timing.ttlMs - timing.marginMs, timing);
  }

  /** Aborts with a `Stopped` as its reason. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Starts renewing. */
  keep(): void {
    if (this.#timer === undefined) this.#schedule();
  }

  /** Renews on behalf of a deployment, and watches whether it is still wanted. */
  watch(number: number, canBeStopped: (cause: StopCause) => boolean): void {
    this.#number = number;
    this.#canBeStopped = canBeStopped;
    this.keep();
  }

  /** Looks at once instead of at the next renewal; for hints that something changed. */
  async renewNow(): Promise<void> {
    const asked = performance.now();
    const number = this.#number;
    if (this.#timer === undefined) return;
    try {
      const news = await this.#store.renew(this.#app, this.#owner, this.fence, number);
      if (!news.held) {
        this.#isLost = true;
        this.#abort({ kind: 'lease lost' });
      } else {
        this.#validUntil = asked + this.#timing.ttlMs - this.#timing.marginMs;
        // It may not be known yet what this lease is for; then there is nothing that could be stopped.
        if (number === 0) return;
        if (news.cancel !== undefined) this.stop({ kind: 'cancelled', reason: news.cancel });
        if (news.desired > number) this.stop({ kind: 'newer push', by: news.desired });
      }
    } catch {
      // Redis is away: the local deadline decides.
    }
  }

  /** Asks the deployment to stop, unless it is past the point where that is possible. */
  stop(cause: StopCause): void {
    if (this.#canBeStopped(cause)) this.#abort(cause);
  }

  /** Call before every side effect: throws when somebody else may own the app by now. */
  assertHeld(): void {
    if (performance.now() >= this.#validUntil) this.#abort({ kind: 'lease lost' });
    this.signal.throwIfAborted();
  }

  /** For what is owed to the app even by a deployment that was stopped: throws only when somebody else may own it by now. */
  assertOwned(): void {
    if (this.#isLost || performance.now() >= this.#validUntil) throw new Stopped({ kind: 'lease lost' });
  }

  async release(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#number = 0;
    await this.#store.release(this.#app, this.#owner).catch(() => {}); // its time ends by itself
  }

  #schedule(): void {
    const untilEnd = this.#validUntil - performance.now();
    if (untilEnd <= 0) {
      this.#abort({ kind: 'lease lost' });
      return;
    }
    this.#timer = setTimeout(
      () => {
        // The next look must not wait for this one: a hanging Redis would hide the deadline.
        void this.renewNow();
        if (this.#timer !== undefined) this.#schedule();
      },
      Math.min(this.#timing.renewMs, untilEnd),
    );
  }

  #abort(cause: StopCause): void {
    if (!this.signal.aborted) this.#controller.abort(new Stopped(cause));
  }
}
