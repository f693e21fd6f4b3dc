import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import type { deploymentsShape } from '../api/contract.ts';
import { type LogLine, renderLogLine } from '../domain/log-line.ts';
import { appName, call, request } from './api-client.ts';
import { ApiError } from './exit-code.ts';

/** Prints a deployment's log and ends with it; the exit code says how it ended. */
export async function showLog(options: { app?: string; deploy?: string }): Promise<void> {
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
      if (record.end === undefined) console.log(renderLogLine(record));
      else end = record.end;
    }
  } catch {
    // Like a log that ends without its end.
  }
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
