import type { OutputPositions } from '../domain/app-log.ts';
import { RecordLines } from './container-output.ts';
import type { StampedLine } from './engine.ts';
import type { EngineClient } from './engine-client.ts';
import { readLog, type Stamped } from './follow-output.ts';

export type ReadOutput = {
  /** What was read before; nothing of it comes again, and nothing after it is left out. */
  after: OutputPositions;
  /** Until the container stops; else to the present end. */
  follow: boolean;
  /** Asked before every portion; of what is not admitted only the end is read, the rest is counted. */
  admit: (bytes: number) => boolean;
};

export type OutputPortion = {
  /** Where the reading had ended, should the engine not have that any more: what came after it may be lost. */
  gapAfter?: Omit<StampedLine, 'text'>;
  /** Read but not admitted, before `lines`. `at` and `records` are of the last of them. */
  skipped: readonly Omit<StampedLine, 'text'>[];
  lines: readonly StampedLine[];
};

/**
 * The engine stamps both streams for itself and writes them one after the other, so that a record may come behind a later one
 * of the other stream. It never is much later.
 */
const overlapSeconds = 10;

const heldBytes = 64 * 1024;
const quietMs = 500;

export async function readOutput(
  client: EngineClient,
  container: string,
  { after, follow, admit }: ReadOutput,
  report: (portion: OutputPortion) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const from = latestOf(after);
  const since = from && sinceOf(from.at);
  let isThere = from === undefined;
  const which = { ...(follow && { follow: '1' }), ...(since !== undefined && { since }) };
  const isNew = unreadOnly(after);
  const count = recordCounter(after);
  let records = new RecordLines();
  let last: Omit<StampedLine, 'text'> | undefined;
  const take = async (frames: readonly Stamped[]): Promise<void> => {
    const lines = frames.flatMap((frame): StampedLine[] => {
      const stamp = count(frame);
      last = stamp;
      return records.take(frame).map((text) => ({ ...stamp, text }));
    });
    if (lines.length > 0) await report({ skipped: [], lines });
  };

  // The last lines of a flood may say how it came to an end.
  const held = new HeldFrames();
  let releasing = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;
  const release = (): Promise<void> => take(held.takeAll());
  const releaseWhenQuiet = (): void => {
    timer = setTimeout(() => {
      releasing = release();
      releasing.catch(() => {}); // thrown where it is awaited
    }, quietMs);
  };
  try {
    for await (const frames of readLog(client, container, which, signal)) {
      clearTimeout(timer);
      await releasing;
      const unread = frames.filter(isNew);
      isThere ||= frames.some((frame) => frame.stream === from?.stream && frame.at === from.at);
      if (unread.length > 0 && !isThere && from) {
        isThere = true;
        await report({ gapAfter: from, skipped: [], lines: [] });
      }
      if (unread.length === 0) {
        if (held.bytes > 0) releaseWhenQuiet();
      } else if (admit(bytesOf(unread))) {
        await release();
        await take(unread);
      } else {
        const skipped = held.add(unread);
        if (skipped.length > 0) {
          records = new RecordLines();
          await report({ lines: [], skipped: skipped.map((frame) => count(frame)) });
        }
        releaseWhenQuiet();
      }
      signal.throwIfAborted();
    }
  } finally {
    clearTimeout(timer);
  }
  await releasing;
  await release();
  const stamp = last;
  const rest = stamp ? records.end().map((text) => ({ ...stamp, text })) : [];
  if (rest.length > 0) await report({ skipped: [], lines: rest });
}

/** The end of what was not admitted so far. */
class HeldFrames {
  #frames: Stamped[] = [];
  bytes = 0;

  /** Returns what is too long ago; in large steps, since shifting a long array is slow. */
  add(frames: readonly Stamped[]): Stamped[] {
    this.#frames.push(...frames);
    this.bytes += bytesOf(frames);
    if (this.bytes <= 2 * heldBytes) return [];
    let kept = 0;
    const first = this.#frames.findLastIndex((frame) => (kept += frame.bytes.length) > heldBytes) + 1;
    const skipped = this.#frames.splice(0, first);
    this.bytes -= bytesOf(skipped);
    return skipped;
  }

  takeAll(): Stamped[] {
    this.bytes = 0;
    return this.#frames.splice(0);
  }
}

function bytesOf(frames: readonly Stamped[]): number {
  return frames.reduce((sum, frame) => sum + frame.bytes.length, 0);
}

function latestOf({ stdout, stderr }: OutputPositions): Omit<StampedLine, 'text'> | undefined {
  if (stdout && (!stderr || stdout.at > stderr.at)) return { stream: 'stdout', ...stdout };
  return stderr && { stream: 'stderr', ...stderr };
}

function sinceOf(at: string): string {
  const seconds = Math.floor(Date.parse(`${at.slice(0, 19)}Z`) / 1000);
  return `${seconds - overlapSeconds}.${at.slice(20, 29)}`;
}

function unreadOnly(after: OutputPositions): (frame: Stamped) => boolean {
  const left = { stdout: after.stdout?.records ?? 0, stderr: after.stderr?.records ?? 0 };
  const latest = { stdout: after.stdout?.at ?? '', stderr: after.stderr?.at ?? '' };
  return ({ stream, at }) => {
    // An engine that changes to another file while it is followed begins with what was there before.
    if (at < latest[stream]) return false;
    latest[stream] = at;
    if (at !== after[stream]?.at) return true;
    left[stream] -= 1;
    return left[stream] < 0;
  };
}

function recordCounter(after: OutputPositions): (frame: Stamped) => Omit<StampedLine, 'text'> {
  const latest = { ...after };
  return ({ stream, at }) => {
    const before = latest[stream];
    const records = before?.at === at ? before.records + 1 : 1;
    latest[stream] = { at, records };
    return { stream, at, records };
  };
}
