const free = 5;
const longestWaitMs = 60_000;
const forgottenAfterMs = 15 * 60_000;
/** Tries of one source that nobody knows the end of yet. */
const mostAtOnce = 100;

type Record = {
  failures: number;
  lastAt: number;
  blockedUntil: number;
};

/**
 * Makes whoever fails wait: five times nothing, then a second, two, four, at most a minute. A quarter of an hour after
 * the last failure all is forgotten. Of many different sources the ones not heard of for longest are.
 */
export class FailedLogins {
  readonly #records = new Map<string, Record>();
  /** How many tries of each source were admitted and have not ended. */
  readonly #trying = new Map<string, number>();
  readonly #capacity: number;
  readonly #now: () => number;

  constructor({ capacity = 10_000, now = () => performance.now() } = {}) {
    this.#capacity = capacity;
    this.#now = now;
  }

  get size(): number {
    return this.#records.size;
  }

  /**
   * Milliseconds to wait; 0 admits the try, and `settle` has to follow. Once there were failures one try at a time is
   * admitted: many at once would all come before the first one counts.
   */
  admit(sources: readonly string[]): number {
    const now = this.#now();
    const waits = sources.map((source) => {
      const { failures = 0, blockedUntil = 0 } = this.#find(source, now) ?? {};
      if (blockedUntil > now) return blockedUntil - now;
      return (this.#trying.get(source) ?? 0) >= (failures >= free ? 1 : mostAtOnce) ? 1000 : 0;
    });
    const wait = Math.max(0, ...waits);
    if (wait === 0)
      for (const source of sources) this.#trying.set(source, (this.#trying.get(source) ?? 0) + 1);
    return wait;
  }

  settle(sources: readonly string[], hasFailed: boolean): void {
    const now = this.#now();
    for (const source of sources) {
      const left = (this.#trying.get(source) ?? 1) - 1;
      if (left > 0) this.#trying.set(source, left);
      else this.#trying.delete(source);
      if (hasFailed) this.#count(source, this.#find(source, now)?.failures ?? 0, now);
    }
  }

  #count(source: string, before: number, now: number): void {
    const failures = before + 1;
    const wait = failures < free ? 0 : Math.min(1000 * 2 ** (failures - free), longestWaitMs);
    // The end of the map is what failed last.
    this.#records.delete(source);
    this.#records.set(source, { failures, lastAt: now, blockedUntil: now + wait });
    if (this.#records.size <= this.#capacity) return;
    for (const oldest of this.#records.keys()) {
      this.#records.delete(oldest);
      return;
    }
  }

  #find(source: string, now: number): Record | undefined {
    const record = this.#records.get(source);
    if (!record || now - record.lastAt < forgottenAfterMs) return record;
    this.#records.delete(source);
    return undefined;
  }
}
