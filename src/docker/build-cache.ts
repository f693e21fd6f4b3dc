import { messageOf } from '../errors.ts';
import type { EngineClient } from './engine-client.ts';

/** The start of the description of what BuildKit keeps of a context that came as a tar. */
const contextRecord = 'http url http://build-context-';
const timeoutMs = 120_000;

type CacheRecord = { ID: string; Description: string; InUse: boolean };

/**
 * Drops the contexts that BuildKit keeps, in full size and for ever, after each build; layers stay cached.
 * One sweep at a time: it lists everything the engine has, and one sweep serves all builds that ended before it.
 */
export class BuildContextSweeper {
  readonly #client: EngineClient;
  #sweeping: Promise<void> | undefined;
  #isWantedAgain = false;
  /** The last reason why sweeping failed; a build must not fail for it, and the next sweep tries again. */
  lastError: string | undefined;

  constructor(client: EngineClient) {
    this.#client = client;
  }

  /** Returns at once. */
  request(): void {
    this.#isWantedAgain = true;
    this.#sweeping ??= this.#sweepWhileWanted();
  }

  async drain(): Promise<void> {
    await this.#sweeping;
  }

  async #sweepWhileWanted(): Promise<void> {
    try {
      while (this.#isWantedAgain) {
        this.#isWantedAgain = false;
        await this.#sweep();
      }
      this.lastError = undefined;
    } catch (error) {
      this.lastError = messageOf(error);
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
      if (record.InUse || !record.Description.startsWith(contextRecord)) continue;
      await this.#drop(record.ID);
    }
  }

  /** dockerode's `pruneBuilder` leaves out its filters, and would drop everything. */
  async #drop(id: string): Promise<void> {
    const answer = await this.#client.dial('dropping a build context', {
      method: 'POST',
      path: '/build/prune?',
      query: { all: '1', filters: JSON.stringify({ id: [id] }) },
      signal: AbortSignal.timeout(timeoutMs),
    });
    for await (const _ of answer) void _;
  }
}
