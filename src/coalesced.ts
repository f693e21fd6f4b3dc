/**
 * Work that is asked for more often than it need be done. One run at a time: however often it is asked for while one is under
 * way, one more follows. Asked for beside an engine that hangs, nothing piles up.
 */
export class Coalesced {
  readonly #work: () => Promise<void>;
  #last: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  /** @param work does not reject. */
  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  /** Resolves when a run is over that began after this was called. */
  run(): Promise<void> {
    if (this.#next) return this.#next;
    const next = this.#last.then(() => {
      this.#next = undefined;
      return this.#work();
    });
    this.#next = next;
    this.#last = next;
    return next;
  }

  /** Resolves when nothing is under way any more of what was asked for. */
  async settled(): Promise<void> {
    await this.#last;
  }
}
