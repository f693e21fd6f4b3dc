import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';

/**
 * Carries git's output to the client at the client's pace. Whatever happens to the client, the output is read to
 * its end: git must never block on somebody who left.
 */
export class GitReply {
  readonly #res: ServerResponse;
  readonly #contentType: string;
  readonly #stallMs: number;
  #stallTimer: NodeJS.Timeout | undefined;
  #isDiscarding = false;

  constructor(res: ServerResponse, contentType: string, stallMs: number) {
    this.#res = res;
    this.#contentType = contentType;
    this.#stallMs = stallMs;
  }

  /** The client went away before it had everything. */
  get isAbandoned(): boolean {
    return this.#res.destroyed && !this.#res.writableFinished;
  }

  relay(output: Readable): void {
    output.on('data', (chunk: Buffer) => {
      if (this.#isDiscarding || this.isAbandoned || this.write(chunk)) return;
      output.pause();
      this.#stallTimer = setTimeout(() => this.#res.destroy(), this.#stallMs);
    });
    const goOn = () => {
      clearTimeout(this.#stallTimer);
      output.resume();
    };
    this.#res.on('drain', goOn);
    this.#res.on('close', goOn);
  }

  write(chunk: Buffer): boolean {
    this.#writeHead();
    return this.#res.write(chunk);
  }

  /** From here on git's output is read and thrown away. */
  discard(): void {
    this.#isDiscarding = true;
  }

  /** git said everything it had to say. */
  end(): void {
    if (this.isAbandoned) return;
    this.#writeHead();
    this.#res.end();
  }

  /** Ending a truncated answer cleanly would leave `git push` waiting for ever; a cut connection does not. */
  cut(): void {
    this.#res.destroy();
  }

  #writeHead(): void {
    if (this.#res.headersSent) return;
    this.#res.writeHead(200, {
      'Content-Type': this.#contentType,
      'Cache-Control': 'no-cache, max-age=0, must-revalidate',
      Expires: 'Fri, 01 Jan 1980 00:00:00 GMT',
      Pragma: 'no-cache',
      // nginx would otherwise collect the live log.
      'X-Accel-Buffering': 'no',
    });
  }
}
