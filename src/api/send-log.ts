import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { LogChunk } from '../store/log-reader.ts';

/** Clients and proxies give a silent connection up after some minutes; a build or a task may be silent for hours. */
const sayAliveEveryMs = 15_000;

/**
 * One JSON object a line, live until the end: {id, kind, text} and at last {id, end}. An empty line says that the
 * connection is there. At the pace of the reader.
 */
export async function sendLog<End>(
  { raw }: Pick<FastifyRequest, 'raw'>,
  reply: FastifyReply,
  follow: (signal: AbortSignal) => AsyncIterable<LogChunk<End>>,
): Promise<void> {
  const gone = new AbortController();
  raw.on('close', () => raw.socket.destroyed && gone.abort());
  reply.raw.on('close', () => gone.abort());
  reply.hijack();
  reply.raw.writeHead(200, {
    ...(reply.getHeaders() as OutgoingHttpHeaders),
    'content-type': 'application/x-ndjson',
    'x-accel-buffering': 'no',
  });
  const alive = setInterval(() => {
    if (!reply.raw.writableNeedDrain) reply.raw.write('\n');
  }, sayAliveEveryMs);
  try {
    for await (const chunk of follow(gone.signal)) {
      const records =
        'end' in chunk
          ? [{ id: chunk.id, end: chunk.end }]
          : chunk.lines.map((line) => ({ id: chunk.id, ...line }));
      const text = records.map((record) => `${JSON.stringify(record)}\n`).join('');
      if (!reply.raw.write(text)) await drained(reply.raw, gone.signal);
    }
  } catch {
    // Either the reader went away or Redis did; a reader that misses the end record knows that it has to ask again.
  } finally {
    clearInterval(alive);
  }
  reply.raw.end();
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
