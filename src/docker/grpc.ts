import { performServerHandshake, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';

/** gRPC's numbers for what went wrong. */
export const grpcStatus = { notFound: 5, unimplemented: 12, internal: 13 } as const;

type GrpcAnswer = { message: Uint8Array } | { status: number; reason: string };
/** One message in, one message out. */
export type GrpcMethod = (message: Uint8Array) => GrpcAnswer;

/** Answers the calls that the other end of a connection makes, by path. Ends with the socket. */
export function serveGrpc(socket: Duplex, methods: ReadonlyMap<string, GrpcMethod>): void {
  // The other end may hang up at any time; whoever needs the connection learns of it there.
  socket.on('error', () => undefined);
  const session = performServerHandshake(socket);
  session.on('error', () => undefined);
  session.on('stream', (stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on('error', () => undefined);
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => answer(stream, call(methods.get(headers[':path'] ?? ''), Buffer.concat(chunks))));
  });
}

function call(method: GrpcMethod | undefined, frame: Buffer): GrpcAnswer {
  if (method === undefined) return { status: grpcStatus.unimplemented, reason: 'unknown method' };
  const message = unframed(frame);
  if (message === undefined) return { status: grpcStatus.internal, reason: 'unreadable message' };
  return method(message);
}

/** A frame is a flag for compression, a length of four bytes, and the message. */
function unframed(frame: Buffer): Buffer | undefined {
  if (frame.length < 5 || frame[0] !== 0 || frame.readUInt32BE(1) !== frame.length - 5) return undefined;
  return frame.subarray(5);
}

function framed(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** The verdict comes after the message, in the trailers; without a message everything is in the headers. */
function answer(stream: ServerHttp2Stream, result: GrpcAnswer): void {
  if (stream.destroyed) return;
  const headers = { ':status': 200, 'content-type': 'application/grpc' };
  if ('status' in result) {
    const verdict = {
      'grpc-status': String(result.status),
      'grpc-message': encodeURIComponent(result.reason),
    };
    stream.respond({ ...headers, ...verdict }, { endStream: true });
    return;
  }
  stream.respond(headers, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(framed(result.message));
}
