export type Release = () => void;

type Waiting = { who: string; admit: () => void };

/** Bounds how many git processes work at once, in total and for one account; a few more wait in line. */
export class TransferSlots {
  readonly #limits: { total: number; perAccount: number; waiting: number };
  readonly #busy = new Map<string, number>();
  #total = 0;
  #line: Waiting[] = [];

  constructor(limits: { total: number; perAccount: number; waiting: number }) {
    this.#limits = limits;
  }

  /** A slot, or nothing when too many wait already or the signal gives up waiting. */
  async acquire(who: string, signal: AbortSignal): Promise<Release | undefined> {
    if (signal.aborted) return undefined;
    if (this.#hasRoomFor(who)) return this.#take(who);
    if (this.#line.length >= this.#limits.waiting) return undefined;
    return new Promise((resolve) => {
      const leave = () => {
        this.#line = this.#line.filter((other) => other !== waiting);
        resolve(undefined);
      };
      const waiting = {
        who,
        admit: () => {
          signal.removeEventListener('abort', leave);
          resolve(this.#take(who));
        },
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#line.push(waiting);
    });
  }

  #hasRoomFor(who: string): boolean {
    return this.#total < this.#limits.total && (this.#busy.get(who) ?? 0) < this.#limits.perAccount;
  }

  #take(who: string): Release {
    this.#change(who, 1);
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      this.#change(who, -1);
      this.#admitNext();
    };
  }

  #change(who: string, by: 1 | -1): void {
    this.#total += by;
    const count = (this.#busy.get(who) ?? 0) + by;
    if (count > 0) this.#busy.set(who, count);
    else this.#busy.delete(who);
  }

  #admitNext(): void {
    const index = this.#line.findIndex((waiting) => this.#hasRoomFor(waiting.who));
    const [next] = index < 0 ? [] : this.#line.splice(index, 1);
    next?.admit();
  }
}
