import { StringDecoder } from 'node:string_decoder';

/** A line without an end must not fill our memory. */
const longestLine = 8192;
const cutMark = ' [line cut at 8 KiB]';

/** Bytes in any portions → whole lines. Characters split between portions stay whole, NUL bytes go. */
export class LineBuffer {
  readonly #decoder = new StringDecoder('utf8');
  #partial = '';
  #isSkipping = false;

  push(chunk: Uint8Array | string): string[] {
    return this.#split(typeof chunk === 'string' ? chunk : this.#decoder.write(Buffer.from(chunk)));
  }

  /** What is left when no more will come. */
  end(): string[] {
    const lines = this.#split(this.#decoder.end());
    if (this.#partial !== '') lines.push(this.#partial);
    this.#partial = '';
    this.#isSkipping = false;
    return lines;
  }

  #split(text: string): string[] {
    const lines: string[] = [];
    const [first = '', ...rest] = text.replaceAll('\0', '').split('\n');
    lines.push(...this.#extend(first));
    for (const next of rest) {
      if (!this.#isSkipping) lines.push(this.#partial.replace(/\r$/, ''));
      this.#partial = '';
      this.#isSkipping = false;
      lines.push(...this.#extend(next));
    }
    return lines;
  }

  #extend(text: string): string[] {
    if (this.#isSkipping) return [];
    this.#partial += text;
    if (this.#partial.length <= longestLine) return [];
    // A progress bar rewrites its line again and again: only what a terminal would still show counts.
    this.#partial = this.#partial.slice(this.#partial.lastIndexOf('\r', this.#partial.length - 2) + 1);
    if (this.#partial.length <= longestLine) return [];
    const cut = this.#partial.slice(0, longestLine) + cutMark;
    this.#partial = '';
    this.#isSkipping = true;
    return [cut];
  }
}
