import type { OutgoingHttpHeaders } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { UserError } from '../errors.ts';
import type { LogChunk } from '../store/log-reader.ts';

/** Clients and proxies give a silent connection up after some minutes; a build or a task may be silent for hours. */
const sayAliveEveryMs = 15_000;
/** What a browser asks for again after it saw the end; to be told nothing makes it stop. */
const endId = 'end';

type LogRecord = { id: number | typeof endId } & Record<string, unknown>;

/**
 * A log at the pace of its reader, live until the end: one JSON object a line, `{id, kind, text}` and at last `{id, end}`,
 * with an empty line to say that the connection is there; or the same as server-sent events for who accepts those. The id
 * of a line is its number, and stays it; whoever was cut off goes on after the last one it saw, with `Last-Event-ID` or
 * `?after=`. Lines that come with an id keep it.
 */
export async function sendLog<End>(
  request: FastifyRequest,
  reply: FastifyReply,
  follow: (signal: AbortSignal, seen: number) => AsyncIterable<LogChunk<End>>,
): Promise<void> {
  const isEvents = (request.headers.accept ?? '').includes('text/event-stream');
  const seen = lastSeen(request);
  if (seen === endId) return void reply.status(204).send(null);

  const { raw } = request;
  const gone = new AbortController();
  raw.on('close', () => raw.socket.destroyed && gone.abort());
  reply.raw.on('close', () => gone.abort());
  reply.hijack();
  reply.raw.writeHead(200, {
    ...(reply.getHeaders() as OutgoingHttpHeaders),
    'content-type': isEvents ? 'text/event-stream' : 'application/x-ndjson',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  });
  reply.raw.flushHeaders();
  const alive = setInterval(() => {
    if (!reply.raw.writableNeedDrain) reply.raw.write(isEvents ? ':\n\n' : '\n');
  }, sayAliveEveryMs);
  const show = isEvents ? asEvent : asLine;
  let number = 0;
  try {
    for await (const chunk of follow(gone.signal, seen)) {
      const bytes =
        'end' in chunk
          ? Buffer.from(show({ id: endId, end: chunk.end }))
          : encodedOnce(chunk.lines, `${number} ${seen} ${isEvents}`, (line, index) => {
              const record = { id: number + 1 + index, ...line };
              return record.id > seen ? show(record) : '';
            });
      if ('lines' in chunk) number += chunk.lines.length;
      if (bytes.length > 0 && !reply.raw.write(bytes)) await drained(reply.raw, gone.signal);
      // Thousands may be given the same at the same time; what else the server does has its turn in between.
      await setImmediate();
    }
  } catch {
    // Either the reader went away or Redis did; a reader that misses the end record knows that it has to ask again.
  } finally {
    clearInterval(alive);
  }
  reply.raw.end();
}

const encodings = new WeakMap<readonly object[], Map<string, Buffer>>();

/** Of lines that many read at the same time there is one copy on its way to all of them. */
function encodedOnce<Line extends object>(
  lines: readonly Line[],
  how: string,
  show: (line: Line, index: number) => string,
): Buffer {
  const known = encodings.get(lines) ?? new Map<string, Buffer>();
  encodings.set(lines, known);
  const bytes = known.get(how) ?? Buffer.from(lines.map(show).join(''));
  known.set(how, bytes);
  return bytes;
}

function lastSeen({ headers, query }: FastifyRequest): number | typeof endId {
  const given = headers['last-event-id'] ?? (query as { after?: unknown }).after ?? '0';
  if (given === endId) return endId;
  if (typeof given !== 'string' || !/^\d{1,15}$/.test(given))
    throw new UserError(
      'INVALID',
      'that is no id of a line',
      'ids are the numbers of lines, as the log says them',
    );
  return Number(given);
}

function asLine(record: LogRecord): string {
  return `${JSON.stringify(record)}\n`;
}

function asEvent(record: LogRecord): string {
  const name = record.id === endId ? 'event: end\n' : '';
  return `id: ${record.id}\n${name}data: ${JSON.stringify(record)}\n\n`;
}

async function drained(stream: NodeJS.WritableStream, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      stream.removeListener('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    stream.on('drain', done);
    signal.addEventListener('abort', done);
  });
}
