import { setTimeout as sleep } from 'node:timers/promises';
import type { ListedContainer, StampedLine } from '../docker/engine.ts';
import type { OutputPortion } from '../docker/read-output.ts';
import type { AppName } from '../domain/app.ts';
import type { AppLogLine } from '../domain/app-log.ts';
import { labels } from '../domain/container.ts';
import { sanitiseOutput } from '../domain/safe-text.ts';
import { messageOf } from '../errors.ts';
import type { AppLogWriter } from '../store/app-log-writer.ts';
import { Budget } from './budget.ts';
import type { CollectorOptions } from './collector.ts';

type TurnOptions = CollectorOptions & {
  signal: AbortSignal;
  /** Throws once somebody else may be at it. */
  guard: () => void;
};

type AppLog = { writer: AppLogWriter; budget: Budget };
type Source = Pick<AppLogLine, 'container' | 'release' | 'instance'> & { app: AppName };
type Skipped = { lines: number; last: Omit<StampedLine, 'text'> };

/** A hint of the engine may be lost. */
const lookEveryMs = 5000;
const watchAgainMs = 1000;
/** Within a second. */
const fastBytes = 256 * 1024;
const fastPauseMs = 2000;
const burstBytes = 4 * 1024 ** 2;
const bytesPerSecond = 512 * 1024;

/** Reads every container of a release from where its log ends, for as long as this process is the one that does. */
export class CollectorTurn {
  readonly #options: TurnOptions;
  readonly #logs = new Map<AppName, Promise<AppLog>>();
  /** Containers that are being read; `again`: something happened since. */
  readonly #reading = new Map<string, { again: boolean; done: Promise<void> }>();
  /** Containers that do not run and were read to their end. */
  readonly #finished = new Set<string>();
  #alive: ReadonlySet<string> = new Set();

  constructor(options: TurnOptions) {
    this.#options = options;
  }

  /** Resolves when the signal has aborted and nothing is written any more. */
  async run(): Promise<void> {
    const { events, signal } = this.#options;
    const stopListening = events.listen((event) => {
      if (event.kind === 'collect') void this.#hear(event.container);
    });
    const watching = this.#watch();
    while (!signal.aborted) {
      await this.#look();
      await sleep(lookEveryMs, undefined, { signal }).catch(() => {});
    }
    stopListening();
    await watching;
    await Promise.allSettled([...this.#reading.values()].map(({ done }) => done));
  }

  async #watch(): Promise<void> {
    const { engine, mark, signal } = this.#options;
    while (!signal.aborted) {
      try {
        const watched = engine.watchContainers(mark, (container) => void this.#hear(container), signal);
        this.#finished.clear(); // what happened while nobody watched is not known
        await watched;
      } catch {
        // The look says what is wrong.
      }
      await sleep(watchAgainMs, undefined, { signal }).catch(() => {});
    }
  }

  async #hear(container: string): Promise<void> {
    this.#finished.delete(container);
    const reading = this.#reading.get(container);
    if (reading) reading.again = true;
    else await this.#look();
  }

  async #look(): Promise<void> {
    const { engine, mark, signal, logger } = this.#options;
    try {
      const listed = await engine.listNames(mark);
      this.#alive = new Set(listed.map(({ id }) => id));
      for (const container of listed) {
        const { id, running } = container;
        const source = sourceOf(container);
        const isFinished = this.#finished.has(id) && !running;
        if (!source || isFinished || this.#reading.has(id) || signal.aborted) continue;
        const reading = { again: false, done: Promise.resolve() };
        this.#reading.set(id, reading);
        reading.done = this.#read(source, reading).finally(() => this.#reading.delete(id));
      }
      for (const id of this.#finished) if (!this.#alive.has(id)) this.#finished.delete(id);
    } catch (error) {
      if (!signal.aborted) logger.debug({ reason: messageOf(error) }, 'containers could not be listed');
    }
  }

  async #read(source: Source, reading: { again: boolean }): Promise<void> {
    const { signal, logger, announce } = this.#options;
    const { app, container } = source;
    try {
      do {
        reading.again = false;
        await this.#readOnce(source, false);
        // To who follows a log that grows fast the engine loses lines when it begins another file, but not to who asks for
        // what there is.
        while ((await this.#readOnce(source, true)).isTooFast) {
          do await sleep(fastPauseMs, undefined, { signal });
          while ((await this.#readOnce(source, false)).bytes > fastBytes);
        }
        // It also ends a log that is followed before its last line was there.
        await this.#readOnce(source, false);
        await announce(container);
      } while (reading.again && !signal.aborted);
      this.#finished.add(container);
    } catch (error) {
      if (!signal.aborted) logger.debug({ app, reason: messageOf(error) }, 'a container could not be read');
    }
  }

  async #readOnce(source: Source, follow: boolean): Promise<{ bytes: number; isTooFast: boolean }> {
    const { engine, maskOf, guard, onDropped, signal } = this.#options;
    const { app, container, release } = source;
    const { writer, budget } = await this.#logOf(app);
    const mask = await maskOf(app, release);
    const tooFast = new AbortController();
    const isFast = speedometer();
    let bytes = 0;
    const skipped = new Map<StampedLine['stream'], Skipped>();
    let gap: Omit<AppLogLine, keyof Source> | undefined;
    const append = async (lines: readonly StampedLine[]): Promise<void> => {
      const notices = [...(gap ? [gap] : []), ...[...skipped.values()].map(noticeOf)];
      for (const { lines: count } of skipped.values()) onDropped(count);
      gap = undefined;
      skipped.clear();
      const shown = lines.map((line) => ({ ...line, text: mask(sanitiseOutput(line.text)) }));
      guard();
      await writer.append(
        [...notices, ...shown].map((line) => ({ ...line, ...source })),
        this.#alive,
      );
    };
    const report = async (portion: OutputPortion): Promise<void> => {
      if (portion.gapAfter)
        gap = {
          ...portion.gapAfter,
          notice: true,
          text: '... lines not kept, nobody knows how many: the engine had dropped them before they could be read ...',
        };
      for (const last of portion.skipped)
        skipped.set(last.stream, { lines: (skipped.get(last.stream)?.lines ?? 0) + 1, last });
      if (portion.lines.length > 0) await append(portion.lines);
    };
    const how = {
      after: writer.position(container),
      follow,
      admit: (portion: number): boolean => {
        bytes += portion;
        if (follow && isFast(portion)) tooFast.abort();
        return budget.admit(portion);
      },
    };
    try {
      await engine.readOutput(container, how, report, AbortSignal.any([signal, tooFast.signal]));
    } catch (error) {
      if (signal.aborted || !tooFast.signal.aborted) throw error;
    } finally {
      if ((gap || skipped.size > 0) && !signal.aborted) await append([]);
    }
    return { bytes, isTooFast: tooFast.signal.aborted };
  }

  #logOf(app: AppName): Promise<AppLog> {
    const known = this.#logs.get(app);
    if (known) return known;
    const opened = this.#options
      .openLog(app)
      .then((writer) => ({ writer, budget: new Budget(burstBytes, bytesPerSecond) }));
    this.#logs.set(app, opened);
    opened.catch(() => this.#logs.delete(app));
    return opened;
  }
}

/** `undefined` for what has a log of its own, or none. */
function sourceOf({ id, name, labels: marks }: ListedContainer): Source | undefined {
  const { [labels.app]: app, [labels.release]: release, [labels.task]: task } = marks;
  if (app === undefined || release === undefined || task !== undefined) return undefined;
  const instance = Number(/-(\d+)$/.exec(name)?.[1] ?? 0);
  return { app: app as AppName, container: id, release: Number(release), instance };
}

function speedometer(): (bytes: number) => boolean {
  let since = performance.now();
  let sum = 0;
  return (bytes) => {
    if (performance.now() - since > 1000) {
      since = performance.now();
      sum = 0;
    }
    sum += bytes;
    return sum > fastBytes;
  };
}

function noticeOf({ lines, last }: Skipped): Omit<AppLogLine, keyof Source> {
  const rate = `${bytesPerSecond / 1024} KiB/s`;
  return { ...last, notice: true, text: `... ${lines} lines not kept: printed faster than ${rate} ...` };
}
