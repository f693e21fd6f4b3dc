import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { LogLine } from '../domain/log-line.ts';
import { encodeLine } from './log-codec.ts';

export type LogLimits = { headBytes: number; tailBytes: number; lineBytes: number };

const defaultLogLimits: LogLimits = {
  headBytes: 4 * 1024 ** 2,
  tailBytes: 256 * 1024,
  lineBytes: 8 * 1024,
};

/** How much may wait for Redis before whoever writes has to wait as well. */
const pendingLimit = 64 * 1024;

/**
 * Writes the log of one deployment or task. A line is sent at once, with what is said beside it, when nothing is on its
 * way, else with the next batch.
 * Output of the app is kept up to a limit, then only its tail: between the two stands one line that says how much is missing.
 */
export class LogWriter {
  readonly #redis: Redis;
  readonly #keys: [string, string];
  readonly #fence: string;
  readonly #mask: (text: string) => string;
  readonly #limits: LogLimits;
  readonly #onDropped: (lines: number) => void;
  #pending = '';
  #batches = 0;
  #sending: Promise<void> | undefined;
  #outputBytes = 0;
  #tail: LogLine[] = [];
  #tailBytes = 0;
  #dropped = { lines: 0, bytes: 0 };

  constructor(options: {
    redis: Redis;
    /** Whose field `fence` says who may write. */
    owner: string;
    log: string;
    fence: number | string;
    mask: (text: string) => string;
    limits?: LogLimits;
    onDropped?: (lines: number) => void;
  }) {
    this.#redis = options.redis;
    this.#keys = [options.owner, options.log];
    this.#fence = String(options.fence);
    this.#mask = options.mask;
    this.#limits = options.limits ?? defaultLogLimits;
    this.#onDropped = options.onDropped ?? (() => {});
  }

  /** Resolves when the lines are sent or may wait; that is the back-pressure a flood needs. */
  async write(...lines: readonly LogLine[]): Promise<void> {
    for (const line of lines) this.#take(line);
    if (this.#pending !== '') await this.#send();
  }

  #take(line: LogLine): void {
    if (line.kind === 'output' && this.#outputBytes >= this.#limits.headBytes) {
      this.#keepInTail(line);
      return;
    }
    if (line.kind !== 'output') this.#flushTail();
    const encoded = this.#encode(line);
    if (line.kind === 'output') this.#outputBytes += encoded.length;
    this.#pending += encoded;
  }

  #encode(line: LogLine): string {
    return encodeLine({ kind: line.kind, text: cut(this.#mask(line.text), this.#limits.lineBytes) });
  }

  /** Everything written so far is in Redis when this resolves. */
  async flush(): Promise<void> {
    this.#flushTail();
    while (this.#pending !== '' || this.#sending) {
      await (this.#sending ?? this.#start());
    }
  }

  async #send(): Promise<void> {
    if (!this.#sending) void this.#start();
    while (this.#pending.length > pendingLimit && this.#sending) await this.#sending;
  }

  #start(): Promise<void> {
    // Each batch is one write to a disk that others wait for: what is said in one turn of the event loop goes together.
    this.#sending = nextTurn()
      .then(() => this.#sendBatch())
      .catch(() => {}) // a log that cannot be written must not fail the deployment; the lease notices a dead Redis
      .then(() => {
        this.#sending = undefined;
        if (this.#pending !== '') void this.#start();
      });
    return this.#sending;
  }

  async #sendBatch(): Promise<void> {
    const batch = this.#pending;
    this.#pending = '';
    this.#batches += 1;
    const id = `${this.#fence}.${this.#batches}`;
    await this.#redis.eval(appendScript, 2, ...this.#keys, this.#fence, batch, id);
  }

  /** As it is: of a flood hardly a line is ever shown, so the work for showing one waits until then. */
  #keepInTail(line: LogLine): void {
    const size = sizeInTail(line);
    this.#tail.push(line);
    this.#tailBytes += size;
    this.#dropped.lines += 1;
    this.#dropped.bytes += size;
    // Trimmed in large steps: shifting a long array once per line is what makes a flood slow.
    if (this.#tailBytes > 2 * this.#limits.tailBytes) this.#trimTail();
  }

  #trimTail(): void {
    let first = this.#tail.length;
    let bytes = 0;
    for (const line of this.#tail.toReversed()) {
      if (bytes + sizeInTail(line) > this.#limits.tailBytes) break;
      first -= 1;
      bytes += sizeInTail(line);
    }
    this.#tail = this.#tail.slice(first);
    this.#tailBytes = bytes;
  }

  #flushTail(): void {
    if (this.#tail.length === 0) return;
    this.#trimTail();
    const lines = this.#dropped.lines - this.#tail.length;
    if (lines > 0) {
      this.#onDropped(lines);
      const size = ((this.#dropped.bytes - this.#tailBytes) / 1024 ** 2).toFixed(1);
      const limit = (this.#limits.headBytes / 1024 ** 2).toFixed(0);
      this.#pending += encodeLine({
        kind: 'detail',
        text: `... ${lines} lines (${size} MiB) not kept: output passed the ${limit} MiB limit ...`,
      });
    }
    this.#pending += this.#tail.map((line) => this.#encode(line)).join('');
    this.#tail = [];
    this.#tailBytes = 0;
    this.#dropped = { lines: 0, bytes: 0 };
    if (!this.#sending) void this.#start();
  }
}

/** With its line end; a text in memory takes at least this. */
function sizeInTail(line: LogLine): number {
  return line.text.length + 1;
}

function cut(text: string, limit: number): string {
  return text.length <= limit ? text : `${text.slice(0, limit)} ... (${text.length - limit} characters cut)`;
}

/**
 * A worker that lost its lease must not write behind the terminal record of somebody else. A batch whose answer was lost
 * comes again, before any other.
 */
const appendScript = `
local fence, batch, id = unpack(ARGV)
if redis.call('HGET', KEYS[1], 'fence') ~= fence then return 0 end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if last and last[2][4] == id then return 1 end
redis.call('XADD', KEYS[2], '*', 't', batch, 'id', id)
return 1
`;
