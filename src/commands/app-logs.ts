import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LogLine } from '../domain/log-line.ts';
import { appName, request } from './api-client.ts';
import { ApiError, UsageError } from './exit-code.ts';
import { type LogOptions, showLog } from './logs.ts';

type AppLine = LogLine & { id: number; time: string; release: number; instance: number };
type LogRecord = AppLine | { id: 'end'; end: string };

const usualLines = '100';
/** A server that is restarted is back sooner. */
const patienceMs = 60_000;

/** Bare, and with a number, it is about deployments, as every push says it; all else asks for what the app prints. */
export async function logs(options: LogOptions): Promise<void> {
  const { source, deploy, follow, since, lines } = options;
  const isAboutApp = follow !== undefined || since !== undefined || lines !== undefined;
  if (source === 'app' && deploy !== undefined)
    throw new UsageError('--deploy is for the log of a deployment: --source deploy');
  if (source === 'app' || (source === undefined && deploy === undefined && isAboutApp))
    return showAppLog(options);
  if (since !== undefined) throw new UsageError('--since is for what the app prints: --source app');
  await showLog(options);
  if (source === undefined && deploy === undefined && !options.json)
    console.error('that was a deployment; what the app prints: gantry logs --source app');
}

/** Ends with the log, or with `--follow` never: a connection that breaks goes on behind the last line. */
async function showAppLog({ app, follow, since, lines, json }: LogOptions): Promise<void> {
  if (lines !== undefined && !/^\d{1,6}$/.test(lines))
    throw new UsageError(`"${lines}" is no number of lines`);
  const path = `/apps/${await appName(app)}/logs?follow=${follow === true}`;
  const tail = lines ?? (since === undefined ? usualLines : undefined);
  const wish = `${since === undefined ? '' : `&since=${encodeURIComponent(since)}`}${tail === undefined ? '' : `&lines=${tail}`}`;
  let last: number | undefined;
  let brokenSince: number | undefined;
  for (;;) {
    try {
      const from = last === undefined ? wish : `&after=${last}`;
      for await (const record of records(await request('GET', `${path}${from}`))) {
        brokenSince = undefined;
        if (record.id === 'end') return;
        last = record.id;
        console.log(json ? JSON.stringify(record) : render(record as AppLine));
      }
    } catch (error) {
      if (error instanceof ApiError && error.status !== 0 && error.status !== 503) throw error;
      if (!follow || (brokenSince === undefined && last === undefined)) throw error;
    }
    brokenSince ??= performance.now();
    if (!follow || performance.now() - brokenSince > patienceMs)
      throw new ApiError(0, 'the connection to the server broke', 'try again: gantry logs --source app');
    await sleep(1000);
  }
}

async function* records(response: Response): AsyncGenerator<LogRecord> {
  if (!response.body) return;
  const rows = createInterface({
    input: Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]),
  });
  try {
    for await (const row of rows) if (row !== '') yield JSON.parse(row) as LogRecord;
  } catch {
    // Like a log that ends without its end.
  }
}

/** In front of every line, so that scripts can rely on it: when, and which instance of which release. */
function render({ kind, time, release, instance, text }: AppLine): string {
  if (kind !== 'output') return `       ${text}`;
  return `${time.slice(0, 23)}Z v${release}[${instance}] ${text}`;
}
