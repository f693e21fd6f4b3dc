import { timeoutSignal } from '../timeout-signal.ts';
import type { EngineClient } from './engine-client.ts';

const timeoutMs = 120_000;
/** Listing and dropping keeps the engine from starting containers quickly. */
const quietMs = 5_000;

export type CacheRecord = {
  ID: string;
  Description: string;
  InUse: boolean;
  Shared: boolean;
  /** `Parents` from API 1.42 on. */
  Parent?: string;
  Parents?: string[] | null;
};

/**
 * Drops what BuildKit keeps, in full size and for ever, of the context of each build; layers stay cached.
 * One sweep at a time: it lists everything the engine has, and one sweep serves all builds that ended before it.
 */
export class BuildContextSweeper {
  readonly #client: EngineClient;
  #sweeping: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isWantedAgain = false;
  readonly #onError: (error: unknown) => void;

  /** A build must not fail because sweeping does, and the next sweep tries again. */
  constructor(client: EngineClient, onError: (error: unknown) => void) {
    this.#client = client;
    this.#onError = onError;
  }

  /** Returns at once; the sweep comes when the container of the build has had time to start. */
  request(): void {
    this.#isWantedAgain = true;
    if (this.#sweeping || this.#timer) return;
    this.#timer = setTimeout(() => this.#start(), quietMs);
  }

  /** Sweeps now if anything waits for it. */
  async drain(): Promise<void> {
    if (this.#timer) this.#start();
    await this.#sweeping;
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sweeping ??= this.#sweepWhileWanted();
  }

  async #sweepWhileWanted(): Promise<void> {
    try {
      while (this.#isWantedAgain) {
        this.#isWantedAgain = false;
        await this.#sweep();
      }
    } catch (error) {
      this.#onError(error);
    } finally {
      this.#sweeping = undefined;
    }
  }

  async #sweep(): Promise<void> {
    const usage: { BuildCache?: CacheRecord[] | null } = await this.#client.call(
      'listing the build cache',
      (docker) => docker.df(),
      timeoutMs,
    );
    for (const record of usage.BuildCache ?? []) {
      if (isContextLeftover(record)) await this.#drop(record.ID);
    }
  }

  /** dockerode's `pruneBuilder` leaves out its filters, and would drop everything. */
  async #drop(id: string): Promise<void> {
    const answer = await this.#client.dial('dropping a build context', {
      method: 'POST',
      path: '/build/prune?',
      query: { all: '1', filters: JSON.stringify({ id: [id] }) },
      signal: timeoutSignal(timeoutMs),
    });
    for await (const _ of answer) void _;
  }
}

/**
 * The tar itself, one per build, and the files out of it, one copy per distinct content. The latter looks like the first
 * COPY of a stage FROM scratch; where that one belongs to an image it is shared, and elsewhere it is cheap to repeat.
 */
export function isContextLeftover(record: CacheRecord): boolean {
  if (record.InUse) return false;
  if (record.Description.startsWith('http url http://build-context-')) return true;
  const hasParent = Boolean(record.Parent) || (record.Parents ?? []).length > 0;
  return record.Description === 'fileop target' && !hasParent && !record.Shared;
}
