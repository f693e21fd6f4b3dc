import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { TerminalMessage, ToPerson } from '../domain/terminal.ts';
import type { LogChunk } from '../store/log-reader.ts';

/** A message that would have to wait behind so much is dropped; it is said again. */
const mostUnsent = 4 * 1024 ** 2;
const sayAliveEveryMs = 5000;

/**
 * What a command's terminal says, one JSON object a line, and at last {end} once the command is over, however that came. An empty
 * line says that the connection is there.
 */
export async function sendTerminal<End>(
  { raw }: Pick<FastifyRequest, 'raw'>,
  reply: FastifyReply,
  listen: (hear: (message: TerminalMessage<ToPerson>) => void) => Promise<() => void>,
  followLog: (signal: AbortSignal) => AsyncIterable<LogChunk<End>>,
): Promise<void> {
  const gone = new AbortController();
  raw.on('close', () => raw.socket.destroyed && gone.abort());
  reply.raw.on('close', () => gone.abort());
  const stopListening = await listen((message) => {
    if (reply.raw.headersSent && reply.raw.writableLength < mostUnsent)
      reply.raw.write(`${JSON.stringify(message)}\n`);
  });
  reply.hijack();
  // Every byte typed comes back through here: none may wait for another.
  raw.socket.setNoDelay(true);
  reply.raw.writeHead(200, {
    ...(reply.getHeaders() as OutgoingHttpHeaders),
    'content-type': 'application/x-ndjson',
    'x-accel-buffering': 'no',
  });
  reply.raw.write('\n');
  const alive = setInterval(() => reply.raw.write('\n'), sayAliveEveryMs);
  try {
    for await (const chunk of followLog(gone.signal)) {
      if ('end' in chunk) reply.raw.write(`${JSON.stringify({ end: chunk.end })}\n`);
    }
  } catch {
    // The reader went away, or Redis did: without an end it knows that it has to come back.
  } finally {
    clearInterval(alive);
    stopListening();
  }
  reply.raw.end();
}
