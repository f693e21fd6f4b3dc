import { appendFile, mkdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import type { AppLogLine, OutputPositions } from '../domain/app-log.ts';
import {
  decodeHeader,
  decodeRow,
  encodeHeader,
  encodeRow,
  type Positions,
  type Segment,
  segmentPath,
  segmentsIn,
  shortId,
} from './app-log-files.ts';

/** The oldest lines go in parts of this size of the whole. */
const parts = 8;

type Lost = { lines: number; last: AppLogLine };

/**
 * Adds to the log of one app, which never takes more than so many bytes. One process at a time. What was written before
 * tells how far each container was read, however the process before ended.
 */
export class AppLogWriter {
  readonly #folder: string;
  readonly #partBytes: number;
  readonly #onTrouble: (error: unknown, lines: number) => void;
  #older: { segment: Segment; bytes: number }[] = [];
  #segment: Segment | undefined;
  #bytes = 0;
  #next = 1;
  #positions: Positions = new Map();
  #lost: Lost | undefined;
  #turn: Promise<void> = Promise.resolve();

  private constructor(
    folder: string,
    limitBytes: number,
    onTrouble: (error: unknown, lines: number) => void,
  ) {
    this.#folder = folder;
    this.#partBytes = limitBytes / parts;
    this.#onTrouble = onTrouble;
  }

  /** `onTrouble`: told when lines cannot be written; they are counted, and what comes later says how many there were. */
  static async open(
    folder: string,
    limitBytes: number,
    onTrouble: (error: unknown, lines: number) => void,
  ): Promise<AppLogWriter> {
    const writer = new AppLogWriter(folder, limitBytes, onTrouble);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writer.#takeUp();
    return writer;
  }

  /** How far the output of a container is in the log. */
  position(container: string): OutputPositions {
    return { ...this.#positions.get(shortId(container)) };
  }

  /** Resolves when they are in the file. `alive`: other containers will not be asked about any more. */
  append(lines: readonly AppLogLine[], alive: ReadonlySet<string>): Promise<void> {
    this.#turn = this.#turn.then(() => this.#append(lines, alive));
    return this.#turn;
  }

  async #append(lines: readonly AppLogLine[], alive: ReadonlySet<string>): Promise<void> {
    const all = this.#lost ? [noticeOf(this.#lost), ...lines] : lines;
    try {
      if (!this.#segment || this.#bytes >= this.#partBytes) await this.#begin(alive);
      await this.#write(all.map(encodeRow).join(''));
      this.#next += all.length;
      this.#lost = undefined;
    } catch (error) {
      const last = lines.at(-1);
      if (last) this.#lost = { lines: (this.#lost?.lines ?? 0) + lines.length, last };
      this.#onTrouble(error, lines.length);
    }
    for (const line of lines) this.#advance(line);
  }

  async #write(text: string): Promise<void> {
    const path = this.#segment?.path ?? '';
    try {
      await appendFile(path, text, { mode: 0o600 });
    } catch (error) {
      // Half a row would become one with the next.
      await truncate(path, this.#bytes).catch(() => {});
      throw error;
    }
    this.#bytes += Buffer.byteLength(text);
  }

  async #begin(alive: ReadonlySet<string>): Promise<void> {
    const known = new Set([...alive].map(shortId));
    for (const container of this.#positions.keys())
      if (!known.has(container)) this.#positions.delete(container);
    let total = this.#older.reduce((sum, { bytes }) => sum + bytes, this.#bytes);
    while (total > (parts - 1) * this.#partBytes) {
      const oldest = this.#older.shift();
      if (!oldest) break;
      await rm(oldest.segment.path, { force: true });
      total -= oldest.bytes;
    }
    const header = encodeHeader(this.#positions);
    const segment = { path: segmentPath(this.#folder, this.#next), first: this.#next };
    try {
      await writeFile(segment.path, header, { mode: 0o600 });
    } catch (error) {
      await rm(segment.path, { force: true });
      throw error;
    }
    if (this.#segment) this.#older.push({ segment: this.#segment, bytes: this.#bytes });
    this.#segment = segment;
    this.#bytes = Buffer.byteLength(header);
  }

  #advance({ container, stream, at, records }: AppLogLine): void {
    const id = shortId(container);
    this.#positions.set(id, { ...this.#positions.get(id), [stream]: { at, records } });
  }

  async #takeUp(): Promise<void> {
    const segments = await segmentsIn(this.#folder);
    const newest = segments.pop();
    this.#older = await Promise.all(
      segments.map(async (segment) => ({ segment, bytes: (await stat(segment.path)).size })),
    );
    if (!newest) return;
    const bytes = await readFile(newest.path);
    const end = bytes.lastIndexOf('\n') + 1;
    if (end === 0) {
      // Its process died before the first row was there; the one before knows what it would have said.
      await rm(newest.path, { force: true });
      return this.#takeUp();
    }
    if (end < bytes.length) await truncate(newest.path, end);
    const [header = '{}', ...rows] = bytes.toString('utf8', 0, end - 1).split('\n');
    this.#positions = decodeHeader(header);
    for (const row of rows) {
      const line = decodeRow(row);
      if (line) this.#advance(line);
    }
    this.#segment = newest;
    this.#bytes = end;
    this.#next = newest.first + rows.length;
  }
}

function noticeOf({ lines, last }: Lost): AppLogLine {
  return {
    ...last,
    notice: true,
    text: `... ${lines} lines not kept: they could not be written to disk ...`,
  };
}
