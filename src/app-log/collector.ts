import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine } from '../docker/engine.ts';
import type { AppName } from '../domain/app.ts';
import { messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { AppLogWriter } from '../store/app-log-writer.ts';
import type { StoreEvents } from '../store/store-events.ts';
import type { TurnStore } from '../store/turn-store.ts';
import { CollectorTurn } from './collector-turn.ts';

export type CollectorOptions = {
  engine: Engine;
  /** Label and value of every container of ours. */
  mark: string;
  turns: TurnStore;
  events: StoreEvents;
  openLog: (app: AppName) => Promise<AppLogWriter>;
  /** Hides the values of the variables of a release. */
  maskOf: (app: AppName, release: number) => Promise<(text: string) => string>;
  /** Says that a container was read to its end. */
  announce: (container: string) => Promise<void>;
  /** Told of lines that are not kept. */
  onDropped: (lines: number) => void;
  logger: Logger;
};

/** Somebody else collects that long after a worker died; see `awaitCollected`. */
const turnMs = 3000;
const renewMs = 750;

/**
 * Keeps what the apps print. Of several workers one does it, and another one when that dies: it goes on where the log ends, with
 * what the engine has kept meanwhile.
 */
export class AppLogCollector {
  readonly #options: CollectorOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { turns, logger } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const owner = randomUUID();
      const asked = performance.now();
      const isMine = await turns.hold(owner, turnMs).catch(() => false);
      if (isMine) {
        await this.#collect(owner, asked + turnMs).catch((err: unknown) =>
          logger.error({ err }, 'the logs of the apps are not collected; it is tried again'),
        );
        await turns.letGo(owner).catch(() => {}); // its time ends by itself
      }
      await sleep(renewMs, undefined, { signal }).catch(() => {});
    }
  }

  async #collect(owner: string, until: number): Promise<void> {
    const { turns, logger } = this.#options;
    let validUntil = until;
    const lost = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, lost.signal]);
    const turn = new CollectorTurn({
      ...this.#options,
      signal,
      // Also when this process slept: somebody else may be writing by now.
      guard: () => {
        if (performance.now() >= validUntil) lost.abort(new Error('the turn is over'));
        signal.throwIfAborted();
      },
    });
    logger.debug('collects the logs of the apps');
    const collecting = turn.run();
    while (!signal.aborted) {
      await sleep(renewMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) break;
      const asked = performance.now();
      const renewed = turns.hold(owner, turnMs).then(
        (isMine) => (isMine ? (validUntil = asked + turnMs) : lost.abort(new Error('the turn is over'))),
        (error: unknown) => logger.debug({ reason: messageOf(error) }, 'turn not renewed'),
      );
      await Promise.race([renewed, sleep(Math.max(0, validUntil - performance.now()))]);
      if (performance.now() >= validUntil) lost.abort(new Error('the turn is over'));
    }
    await collecting;
  }
}
