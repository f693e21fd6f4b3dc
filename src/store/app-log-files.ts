import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { AppLogLine, OutputPositions } from '../domain/app-log.ts';

/**
 * The log of an app is a folder of segments. A segment is called after the number of its first line; its first row says how
 * far each container was read when it began, every further row is a line. So the numbers of lines need not be written, a
 * line and how far its container was read are one write, and the oldest lines go by removing a file.
 */
export type Segment = { path: string; first: number };

const extension = '.log';
/** Of a container id, as `docker ps` shows it. */
export const shortId = (container: string): string => container.slice(0, 12);

export function segmentPath(folder: string, first: number): string {
  return join(folder, `${String(first).padStart(15, '0')}${extension}`);
}

/** The oldest first; none for an app that printed nothing yet. */
export async function segmentsIn(folder: string): Promise<Segment[]> {
  const names = await readdir(folder).catch(() => []);
  return names
    .filter((name) => /^\d{15}\.log$/.test(name))
    .sort()
    .map((name) => ({ path: join(folder, name), first: Number.parseInt(name, 10) }));
}

export type Positions = Map<string, OutputPositions>;

export function encodeHeader(positions: Positions): string {
  return `${JSON.stringify(Object.fromEntries(positions))}\n`;
}

export function decodeHeader(row: string): Positions {
  return new Map(Object.entries(JSON.parse(row) as Record<string, OutputPositions>));
}

export function encodeRow(line: AppLogLine): string {
  const kind = `${line.notice ? '!' : ''}${line.stream === 'stdout' ? 'o' : 'e'}`;
  const { at, records, container, release, instance, text } = line;
  const fields = [at, kind, records, shortId(container), release, instance];
  return `${fields.join(' ')} ${text.replaceAll(/[\r\n]/g, ' ')}\n`;
}

/** `undefined` for a row that is none: the machine may have lost power in the middle of one. */
export function decodeRow(row: string): AppLogLine | undefined {
  const [, at, notice, stream, records, container, release, instance, text] =
    /^(\S{30}) (!?)([oe]) (\d+) (\w{12}) (\d+) (\d+) (.*)$/s.exec(row) ?? [];
  if (at === undefined) return undefined;
  return {
    at,
    ...(notice && { notice: true }),
    stream: stream === 'o' ? 'stdout' : 'stderr',
    records: Number(records),
    container: container ?? '',
    release: Number(release),
    instance: Number(instance),
    text: text ?? '',
  };
}
