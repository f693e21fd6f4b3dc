import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { ask, findServer } from './api-client.ts';
import { ApiError, exitCodeFor, UsageError } from './exit-code.ts';

type Options = { data?: string; header: string[] };

/** Any request with the token of the login; the body of the answer goes to standard output as it comes. */
export async function callApi(method: string, path: string, options: Options): Promise<void> {
  const response = await ask(await findServer(), method.toUpperCase(), pathBelow(path), {
    ...(options.data !== undefined && { body: await readData(options.data) }),
    headers: readHeaders(options.header),
    acceptsProblems: true,
  });
  for await (const chunk of response.body ?? []) process.stdout.write(chunk as Uint8Array);
  if (!response.ok) process.exitCode = exitCodeFor(new ApiError(response.status, response.statusText));
}

/** `/apps`, `apps` and `/api/v1/apps` are the same. */
function pathBelow(path: string): string {
  return `/${path.replace(/^\/?(api\/v1\/)?/, '')}`;
}

async function readData(given: string): Promise<unknown> {
  const json =
    given === '-'
      ? await text(process.stdin)
      : given.startsWith('@')
        ? await readFile(given.slice(1), 'utf8')
        : given;
  try {
    return JSON.parse(json) as unknown;
  } catch (error) {
    throw new UsageError(`the data are no JSON: ${String(error)}`);
  }
}

function readHeaders(lines: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    lines.map((line) => {
      const [, name, value] = /^([\w-]+): *(.*)$/.exec(line) ?? [];
      if (name === undefined || value === undefined)
        throw new UsageError(`"${line}" is no header: write Name: value`);
      return [name.toLowerCase(), value];
    }),
  );
}
