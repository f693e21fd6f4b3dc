import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { AppName } from '../domain/app.ts';
import type { AppLogLine } from '../domain/app-log.ts';
import { decodeRow, type Segment, segmentsIn } from './app-log-files.ts';

/** Where to begin: behind a line, or with the last so many lines of those since a time. */
export type AppLogStart = { after: number } | { lines?: number; since?: Date };

export type NumberedLine = { id: number } & ({ line: AppLogLine } | { missing: number });

const chunkBytes = 64 * 1024;
const lookEveryMs = 200;

/** Reads the logs of apps, which another process writes. */
export class AppLogReader {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Lines with their numbers, the same ones whenever they are asked for, at the pace of the caller. With `follow` without an
   * end; where older lines are gone, something says how many.
   */
  async *read(
    app: AppName,
    start: AppLogStart,
    follow: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<NumberedLine[]> {
    const folder = join(this.#folder, app);
    let segments = await segmentsIn(folder);
    let next = await firstWanted(segments, start);
    for (;;) {
      signal.throwIfAborted();
      const oldest = segments[0]?.first;
      if (oldest !== undefined && next < oldest) {
        yield [{ id: oldest - 1, missing: oldest - next }];
        next = oldest;
      }
      const segment = segments.findLast(({ first }) => first <= next);
      // What was not written before the next one began never will be.
      const following = segment && segments.find(({ first }) => first > segment.first);
      if (segment) {
        for await (const lines of new SegmentRows(segment).from(next, follow, folder, signal)) {
          next = (lines.at(-1)?.id ?? next - 1) + 1;
          yield lines;
        }
      }
      if (following && next < following.first) {
        yield [{ id: following.first - 1, missing: following.first - next }];
        next = following.first;
      }
      segments = await segmentsIn(folder);
      const isThere = segments.some(({ first }) => first > (segment?.first ?? 0));
      if (isThere) continue;
      if (!follow) return;
      await pause(signal);
    }
  }
}

class SegmentRows {
  readonly #segment: Segment;

  constructor(segment: Segment) {
    this.#segment = segment;
  }

  /** Until its end, with `follow` until there is a newer segment. It may be removed meanwhile. */
  async *from(
    wanted: number,
    follow: boolean,
    folder: string,
    signal: AbortSignal,
  ): AsyncGenerator<NumberedLine[]> {
    const file = await open(this.#segment.path).catch(() => undefined);
    if (!file) return;
    try {
      let offset = 0;
      let id = this.#segment.first - 1; // of the row that was read last; the first row is no line
      let isFirst = true;
      let isLast = false;
      for (;;) {
        signal.throwIfAborted();
        const { rows, bytes } = await readRows(file, offset);
        if (bytes > 0) {
          offset += bytes;
          const lines = (isFirst ? rows.slice(1) : rows).flatMap((row): NumberedLine[] => {
            id += 1;
            if (id < wanted) return [];
            const line = decodeRow(row);
            return [line ? { id, line } : { id, missing: 1 }];
          });
          isFirst = false;
          if (lines.length > 0) yield lines;
          continue;
        }
        // Once more after a newer one was seen: what was written in between came before it.
        if (isLast || !follow) return;
        isLast = (await segmentsIn(folder)).some(({ first }) => first > this.#segment.first);
        if (!isLast) await pause(signal);
      }
    } finally {
      await file.close();
    }
  }
}

/** Whole rows only: the writer may be in the middle of one, or take half of one back. */
async function readRows(file: FileHandle, offset: number): Promise<{ rows: string[]; bytes: number }> {
  for (let size = chunkBytes; ; size *= 2) {
    const buffer = Buffer.allocUnsafe(size);
    const { bytesRead } = await file.read(buffer, 0, size, offset);
    const end = buffer.lastIndexOf('\n', bytesRead - 1);
    if (bytesRead > 0 && end >= 0)
      return { rows: buffer.toString('utf8', 0, end).split('\n'), bytes: end + 1 };
    if (bytesRead < size) return { rows: [], bytes: 0 };
  }
}

async function firstWanted(segments: readonly Segment[], start: AppLogStart): Promise<number> {
  if ('after' in start) return start.after + 1;
  const { lines, since } = start;
  const newest = segments.at(-1);
  const behind = newest ? newest.first + (await countRows(newest)) : 1;
  const byLines = lines === undefined ? 1 : Math.max(1, behind - lines);
  const bySince = since === undefined ? 1 : await firstSince(segments, since.toISOString(), behind);
  return Math.max(byLines, bySince);
}

/** A line may stand behind one that is a little younger; the first that is young enough counts. */
async function firstSince(segments: readonly Segment[], since: string, behind: number): Promise<number> {
  const wanted = since.replace('Z', '000000Z');
  for (const segment of segments) {
    const following = segments[segments.indexOf(segment) + 1];
    const nextStart = following && (await firstLine(following))?.at;
    if (nextStart !== undefined && nextStart < wanted) continue;
    for await (const lines of allRows(segment)) {
      const found = lines.find((one) => 'line' in one && one.line.at >= wanted);
      if (found) return found.id;
    }
  }
  return behind;
}

async function firstLine(segment: Segment): Promise<AppLogLine | undefined> {
  for await (const lines of allRows(segment)) {
    const [one] = lines;
    if (one && 'line' in one) return one.line;
  }
  return undefined;
}

async function countRows(segment: Segment): Promise<number> {
  let last = segment.first - 1;
  for await (const lines of allRows(segment)) last = lines.at(-1)?.id ?? last;
  return last - segment.first + 1;
}

function allRows(segment: Segment): AsyncGenerator<NumberedLine[]> {
  return new SegmentRows(segment).from(segment.first, false, '', new AbortController().signal);
}

async function pause(signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, lookEveryMs);
    signal.addEventListener('abort', done);
  });
}
