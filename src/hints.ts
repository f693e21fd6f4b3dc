/** For work in rounds: the next one begins as soon as something happened since the last one began, or after a while. */
export class Hints {
  #isNew = false;
  #wake = (): void => {};

  /** Something happened. */
  give(): void {
    this.#isNew = true;
    this.#wake();
  }

  /** A round begins, which sees all that happened before. */
  take(): void {
    this.#isNew = false;
  }

  /** Resolves with the next hint, at once when there was one since `take`, and at the limit. */
  async next(limitMs: number): Promise<void> {
    if (this.#isNew) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, limitMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
