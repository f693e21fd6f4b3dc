import { mkdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type { Redis } from 'ioredis';
import { writeAtomically } from '../atomic-file.ts';
import type { AppName } from '../domain/app.ts';
import type { DeploymentState } from '../domain/deployment.ts';
import type { LogLine } from '../domain/log-line.ts';
import type { TaskState } from '../domain/task.ts';
import { keys } from './keys.ts';
import { decodeLines } from './log-codec.ts';
import type { StreamWatch } from './stream-watch.ts';

/** What a follower gets: lines, at last the end. */
export type LogChunk<End = DeploymentState> = { lines: (LogLine & { id?: number })[] } | { end: End };

const liveForSeconds = 3600;
/** Each is at most 64 KiB or so, and somebody who does not read on holds them. */
const entriesAtOnce = 4;
const sharedForMs = 1000;

type Batch<End> = readonly { id: string; chunk: LogChunk<End> }[];

/** Reads logs of deployments: live ones from Redis, finished ones from gzip files in the data folder. */
export class LogReader {
  readonly #redis: Redis;
  readonly #watch: StreamWatch;
  readonly #dir: string;
  readonly #batches = new Map<string, Promise<Batch<unknown>>>();

  constructor(redis: Redis, watch: StreamWatch, dir: string) {
    this.#redis = redis;
    this.#watch = watch;
    this.#dir = dir;
  }

  /**
   * Every line, the same ones in the same order whenever it is asked; history first, then live until the end. The caller
   * sets the pace: nothing is buffered for a follower who does not ask for more. Throws the signal's reason on abort.
   */
  async *follow(app: AppName, number: number, signal: AbortSignal): AsyncGenerator<LogChunk> {
    const archived = await this.#archived(app, number);
    if (archived && (await this.#redis.exists(keys.log(app, number))) === 0) {
      if (archived.lines.length > 0) yield { lines: archived.lines };
      yield { end: archived.end };
      return;
    }
    yield* this.#live<DeploymentState>(keys.log(app, number), signal);
  }

  /** The same for a task, whose log is forgotten some days after its end. */
  followTask(app: AppName, number: number, signal: AbortSignal): AsyncGenerator<LogChunk<TaskState>> {
    return this.#live<TaskState>(keys.taskLog(app, number), signal);
  }

  async *#live<End>(key: string, signal: AbortSignal): AsyncGenerator<LogChunk<End>> {
    let last = '0-0';
    for (;;) {
      signal.throwIfAborted();
      const batch = (await this.#after(key, last)) as Batch<End>;
      for (const { id, chunk } of batch) {
        last = id;
        yield chunk;
        if ('end' in chunk) return;
      }
      if (batch.length === 0) await this.#watch.next(key, last, signal);
    }
  }

  /** For everybody who asks at about the same time it is read and decoded once, however many follow a log. */
  #after(key: string, last: string): Promise<Batch<unknown>> {
    const name = `${key} ${last}`;
    const known = this.#batches.get(name);
    if (known) return known;
    const reading = this.#read(key, last);
    this.#batches.set(name, reading);
    const forget = (): boolean => this.#batches.delete(name);
    reading.then((batch) => {
      if (batch.length === 0) forget();
      else setTimeout(forget, sharedForMs).unref();
    }, forget);
    return reading;
  }

  async #read(key: string, last: string): Promise<Batch<unknown>> {
    const entries = await this.#redis.xrange(key, `(${last}`, '+', 'COUNT', entriesAtOnce);
    return entries.map(([id, [field, value = '']]) => ({
      id,
      chunk: field === 'end' ? { end: value } : { lines: decodeLines(value) },
    }));
  }

  /** Writes a finished log to its file and lets Redis forget it in an hour. Fine to repeat. */
  async archive(app: AppName, number: number, state: DeploymentState): Promise<void> {
    const key = keys.log(app, number);
    const file = this.#file(app, number);
    // One that was not synced is empty after a power cut.
    const isWritten = await stat(file).then(
      ({ size }) => size > 0,
      () => false,
    );
    if (isWritten) {
      await this.#redis
        .expire(key, liveForSeconds, 'NX')
        .catch(() => this.#redis.expire(key, liveForSeconds));
      return;
    }
    const entries = await this.#redis.xrange(key, '-', '+');
    const text = entries.map(([, [field, value = '']]) => (field === 't' ? value : '')).join('');
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    await writeAtomically(file, await promisify(gzip)(`${state}\n${text}`));
    await this.#redis.expire(key, liveForSeconds);
  }

  async #archived(
    app: AppName,
    number: number,
  ): Promise<{ lines: LogLine[]; end: DeploymentState } | undefined> {
    const packed = await readFile(this.#file(app, number)).catch(() => undefined);
    if (!packed?.length) return undefined;
    const text = (await promisify(gunzip)(packed)).toString('utf8');
    const head = text.indexOf('\n');
    return { end: text.slice(0, head) as DeploymentState, lines: decodeLines(text.slice(head + 1)) };
  }

  #file(app: AppName, number: number): string {
    return join(this.#dir, app, `${number}.gz`);
  }
}
