import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import type { deploymentsShape } from '../api/contract/deployments.ts';
import { type LogLine, renderLogLine } from '../domain/log-line.ts';
import { appName, call, request } from './api-client.ts';
import { ApiError, UsageError } from './exit-code.ts';

export type LogOptions = {
  app?: string;
  deploy?: string;
  source?: string;
  follow?: boolean;
  since?: string;
  lines?: string;
  json?: boolean;
};

/** Prints a deployment's log and ends with it; the exit code says how it ended. With `lines`, the last so many. */
export async function showLog(options: Pick<LogOptions, 'app' | 'deploy' | 'lines' | 'json'>): Promise<void> {
  const most = options.lines === undefined ? undefined : Number(options.lines);
  if (most !== undefined && !Number.isInteger(most))
    throw new UsageError(`"${options.lines}" is no number of lines`);
  const tail: string[] = [];
  const print = (line: string): void => {
    if (most === undefined) return console.log(line);
    tail.push(line);
    if (tail.length > most) tail.shift();
  };
  const app = await appName(options.app);
  const number = options.deploy ?? String(await latest(app));
  const response = await request('GET', `/apps/${app}/deployments/${encodeURIComponent(number)}/logs`);
  if (!response.body) return;
  const lines = createInterface({
    input: Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]),
  });
  let end: string | undefined;
  try {
    for await (const line of lines) {
      if (line === '') continue;
      const record = JSON.parse(line) as LogLine & { end?: string };
      if (record.end !== undefined) end = record.end;
      else print(options.json ? line : renderLogLine(record));
    }
  } catch {
    // Like a log that ends without its end.
  }
  for (const line of tail) console.log(line);
  if (end === undefined) throw connectionBroke(app, number);
  process.exitCode = end === 'live' ? 0 : end === 'failed' ? 6 : 7;
}

export function connectionBroke(app: string, number: string): ApiError {
  return new ApiError(
    0,
    `the connection to the server broke; deploy #${number} goes on`,
    `gantry logs --app ${decodeURIComponent(app)} --deploy ${number}`,
  );
}

async function latest(app: string): Promise<number> {
  const { deployments } = await call<typeof deploymentsShape>('GET', `/apps/${app}/deployments`);
  const [newest] = deployments;
  if (!newest) throw new ApiError(404, 'nothing was deployed yet');
  return newest.number;
}
