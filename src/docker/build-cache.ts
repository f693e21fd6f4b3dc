import { json } from 'node:stream/consumers';
import { timeoutSignal } from '../timeout-signal.ts';
import type { EngineClient } from './engine-client.ts';

const timeoutMs = 120_000;
/** The engine drops record after record and looks through all of them each time. */
const trimTimeoutMs = 600_000;
/** Listing and dropping keeps the engine from starting containers quickly, so it waits until nobody has built for so long. */
const quietMs = 5_000;
/** On a server that always builds it must come, too. */
const longestWaitMs = 60_000;

/** Their ids go into an address. */
const dropAtOnce = 100;

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
  #waitingSince = 0;
  #isWantedAgain = false;
  readonly #onError: (error: unknown) => void;

  /** A build must not fail because sweeping does, and the next sweep tries again. */
  constructor(client: EngineClient, onError: (error: unknown) => void) {
    this.#client = client;
    this.#onError = onError;
  }

  /** Returns at once; the sweep comes when nobody has asked for one for a while. */
  request(): void {
    this.#isWantedAgain = true;
    if (this.#sweeping) return;
    const now = performance.now();
    if (!this.#timer) this.#waitingSince = now;
    clearTimeout(this.#timer);
    const latest = this.#waitingSince + longestWaitMs;
    this.#timer = setTimeout(() => this.#start(), Math.min(quietMs, Math.max(0, latest - now)));
  }

  /** Sweeps now if anything waits for it. */
  async drain(): Promise<void> {
    while (this.#timer || this.#sweeping) {
      if (this.#timer) this.#start();
      await this.#sweeping;
    }
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isWantedAgain = false;
    this.#sweeping = this.#sweep()
      .catch(this.#onError)
      .finally(() => {
        this.#sweeping = undefined;
        if (this.#isWantedAgain) this.request();
      });
  }

  async #sweep(): Promise<void> {
    const usage: { BuildCache?: CacheRecord[] | null } = await this.#client.call(
      'listing the build cache',
      (docker) => docker.df(),
      timeoutMs,
    );
    const leftovers = (usage.BuildCache ?? []).filter(isContextLeftover).map(({ ID }) => ID);
    while (leftovers.length > 0) await this.#drop(leftovers.splice(0, dropAtOnce));
  }

  /**
   * The engine looks through all it has for each request, and takes one value for a filter, which for ids is a pattern.
   * dockerode's `pruneBuilder` leaves out its filters, and would drop everything.
   */
  async #drop(ids: readonly string[]): Promise<void> {
    const answer = await this.#client.dial('dropping build contexts', {
      method: 'POST',
      path: '/build/prune?',
      query: { all: '1', filters: JSON.stringify({ id: [`/^(${ids.join('|')})$/`] }) },
      signal: timeoutSignal(timeoutMs),
    });
    for await (const _ of answer) void _;
  }
}

/** Keeps the build cache within its budget, and the count of what that freed. */
export class BuildCacheTrimmer {
  readonly #client: EngineClient;
  #trimming: Promise<void> | undefined;
  #bytes = 0;

  constructor(client: EngineClient) {
    this.#client = client;
  }

  trim(keepBytes: number): Promise<void> {
    this.#trimming ??= this.#trim(keepBytes).finally(() => {
      this.#trimming = undefined;
    });
    return this.#trimming;
  }

  takeBytes(): number {
    const bytes = this.#bytes;
    this.#bytes = 0;
    return bytes;
  }

  /** Not with `all`, which would take the cache of images that are kept as well. dockerode leaves out the limit, too. */
  async #trim(keepBytes: number): Promise<void> {
    const answer = await this.#client.dial('trimming the build cache', {
      method: 'POST',
      path: '/build/prune?',
      query: { 'keep-storage': String(keepBytes) },
      signal: timeoutSignal(trimTimeoutMs),
    });
    const { SpaceReclaimed } = (await json(answer)) as { SpaceReclaimed?: number };
    this.#bytes += SpaceReclaimed ?? 0;
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
