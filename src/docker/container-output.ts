import type { EngineClient } from './engine-client.ts';
import { LineBuffer } from './line-buffer.ts';

const longestLine = 500;
const fullRecord = 16 * 1024;
const newline = 0x0a;

export type OutputFrame = { stream: 'stdout' | 'stderr'; bytes: Buffer };

/** The engine sends both streams through one: frames of stream (1 byte), three zeros, length (4 bytes), bytes. */
export class FrameDecoder {
  #rest: Buffer = Buffer.alloc(0);

  push(chunk: Uint8Array): OutputFrame[] {
    const frames: OutputFrame[] = [];
    let bytes = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk]);
    while (bytes.length >= 8) {
      const end = 8 + bytes.readUInt32BE(4);
      if (bytes.length < end) break;
      frames.push({ stream: bytes[0] === 2 ? 'stderr' : 'stdout', bytes: bytes.subarray(8, end) });
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
    return frames;
  }
}

/** Lines of both streams in the order in which they were completed. */
export class OutputLines {
  readonly #frames = new FrameDecoder();
  readonly #buffers = { stdout: new LineBuffer(), stderr: new LineBuffer() };

  push(chunk: Uint8Array): string[] {
    return this.#frames.push(chunk).flatMap(({ stream, bytes }) => this.#buffers[stream].push(bytes));
  }

  end(): string[] {
    return [...this.#buffers.stdout.end(), ...this.#buffers.stderr.end()];
  }
}

/** The last lines a container printed, oldest first; none when it does not exist. */
export async function lastOutput(client: EngineClient, container: string, lines: number): Promise<string[]> {
  if (lines <= 0) return [];
  const logs = await client.ask('reading the output of a container', (docker, abortSignal) =>
    docker
      .getContainer(container)
      .logs({ stdout: true, stderr: true, follow: false, tail: lines, abortSignal }),
  );
  if (!logs.ok) {
    if (logs.refusal.status === 404) return [];
    throw new Error(`could not read the output of ${container}: ${logs.refusal.message}`);
  }
  const records = new RecordLines();
  return [...records.push(logs.value), ...records.end()]
    .map(plainText)
    .slice(-lines)
    .map((line) => (line.length > longestLine ? `${line.slice(0, longestLine - 1)}…` : line));
}

/**
 * Lines of a container's log. There each frame is one record, and only records of the full 16 KiB continue in the next: the
 * `local` driver forgets the line break after the last part of a long line.
 */
export class RecordLines {
  readonly #frames = new FrameDecoder();
  readonly #buffers = { stdout: new LineBuffer(), stderr: new LineBuffer() };

  push(chunk: Uint8Array): string[] {
    return this.#frames.push(chunk).flatMap((frame) => this.take(frame));
  }

  take({ stream, bytes }: OutputFrame): string[] {
    const isWhole = bytes.length < fullRecord && bytes.at(-1) !== newline;
    return [...this.#buffers[stream].push(bytes), ...(isWhole ? this.#buffers[stream].push('\n') : [])];
  }

  end(): string[] {
    return [...this.#buffers.stdout.end(), ...this.#buffers.stderr.end()];
  }
}

/** What a terminal would leave to read: no escape sequences, no control characters, only the last state of a progress bar. */
export function plainText(line: string): string {
  return (
    line
      // oxlint-disable-next-line no-control-regex -- control characters are what this is about
      .replace(/\x1b(\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(\x07|\x1b\\)?|[ -/]*[0-~])/g, '')
      .replace(/\r+$/, '')
      .replace(/^.*\r/s, '')
      // oxlint-disable-next-line no-control-regex
      .replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, '')
  );
}
