/**
 * How much of what an app prints is kept: a burst, and after that a steady rate. One that prints faster is heard again
 * after a pause, so that what is missing is one gap and not one between every two lines.
 */
export class Budget {
  readonly #burstBytes: number;
  readonly #bytesPerSecond: number;
  readonly #now: () => number;
  #left: number;
  #at: number;
  #isSpent = false;

  constructor(burstBytes: number, bytesPerSecond: number, now = () => performance.now()) {
    this.#burstBytes = burstBytes;
    this.#bytesPerSecond = bytesPerSecond;
    this.#now = now;
    this.#left = burstBytes;
    this.#at = now();
  }

  admit(bytes: number): boolean {
    const now = this.#now();
    this.#left = Math.min(this.#burstBytes, this.#left + ((now - this.#at) / 1000) * this.#bytesPerSecond);
    this.#at = now;
    if (this.#isSpent && this.#left < this.#bytesPerSecond) return false;
    this.#isSpent = this.#left < bytes;
    if (!this.#isSpent) this.#left -= bytes;
    return !this.#isSpent;
  }
}
