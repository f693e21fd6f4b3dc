import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { writeAtomically } from '../atomic-file.ts';
import { keys } from './keys.ts';

/** The file falls behind the store by this, so that what a Redis without `appendfsync always` loses in a crash does not count. */
const defaultEveryMs = 5000;

/** How far the store with this id had come when the data folder heard of it last; 0 when it never did. */
export function knownEpoch(file: string, id: string | null | undefined): number {
  const [of, epoch] = read(file).trim().split(' ');
  return of === id ? Number(epoch) : 0;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

type Options = {
  redis: Redis;
  id: string;
  file: string;
  /** Throws when Redis is not the store any more. */
  assertOwnStore: () => Promise<void>;
  onTrouble: (error: unknown) => void;
  everyMs?: number;
};

/**
 * Counts in the store, and a little later in the data folder, for as long as a server runs. A store that has not come as
 * far as the folder knows is an old state of it that somebody put back: what is queued in it has long ended.
 */
export class StoreEpoch {
  readonly #options: Options;
  #last = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: Options) {
    this.#options = options;
  }

  start(): void {
    const { everyMs = defaultEveryMs, onTrouble } = this.#options;
    const advance = async (): Promise<void> => {
      await this.#advance().catch(onTrouble);
      if (this.#isStopped) return;
      // Never two at once, however slow the disk is: they write one file.
      this.#timer = setTimeout(() => {
        this.#running = advance();
      }, everyMs);
    };
    this.#running = advance();
  }

  /** Nothing is lost in an end in order, so the file comes as far as the store. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#running;
    await this.#advance()
      .then(() => this.#write(this.#last))
      .catch(this.#options.onTrouble);
  }

  async #advance(): Promise<void> {
    const { redis, assertOwnStore } = this.#options;
    await assertOwnStore();
    const before = this.#last;
    this.#last = await redis.hincrby(keys.meta, 'epoch', 1);
    await this.#write(before);
  }

  async #write(epoch: number): Promise<void> {
    const { file, id } = this.#options;
    if (epoch <= knownEpoch(file, id)) return;
    await writeAtomically(file, `${id} ${epoch}\n`);
  }
}
