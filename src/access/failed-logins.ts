const free = 5;
const longestWaitMs = 60_000;
const forgottenAfterMs = 15 * 60_000;

type Record = {
  failures: number;
  lastAt: number;
  blockedUntil: number;
  /** Once there were failures, one try at a time: many at once would all come before the first one counts. */
  isTrying: boolean;
};

/**
 * Makes whoever fails wait: five times nothing, then a second, two, four, at most a minute. A quarter of an hour after
 * the last failure all is forgotten. Of many different sources the ones not heard of for longest are.
 */
export class FailedLogins {
  readonly #records = new Map<string, Record>();
  readonly #capacity: number;
  readonly #now: () => number;

  constructor({ capacity = 10_000, now = () => performance.now() } = {}) {
    this.#capacity = capacity;
    this.#now = now;
  }

  get size(): number {
    return this.#records.size;
  }

  /** Milliseconds to wait; 0 admits the try, and `settle` has to follow. */
  admit(sources: readonly string[]): number {
    const now = this.#now();
    const known = sources.flatMap((source) => this.#find(source, now) ?? []);
    const waits = known.map(({ blockedUntil, failures, isTrying }) =>
      blockedUntil > now ? blockedUntil - now : failures >= free && isTrying ? 1000 : 0,
    );
    const wait = Math.max(0, ...waits);
    if (wait === 0) for (const record of known) record.isTrying = true;
    return wait;
  }

  settle(sources: readonly string[], hasFailed: boolean): void {
    const now = this.#now();
    for (const source of sources) {
      const record = this.#find(source, now);
      if (record) record.isTrying = false;
      if (hasFailed) this.#count(source, record?.failures ?? 0, now);
    }
  }

  #count(source: string, before: number, now: number): void {
    const failures = before + 1;
    const wait = failures < free ? 0 : Math.min(1000 * 2 ** (failures - free), longestWaitMs);
    // The end of the map is what failed last.
    this.#records.delete(source);
    this.#records.set(source, { failures, lastAt: now, blockedUntil: now + wait, isTrying: false });
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
