import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { z } from 'zod';
import type { problemShape } from '../api/contract.ts';
import { dataPaths, readConfig } from '../config.ts';
import { ApiError, UsageError } from './exit-code.ts';

/** Asks the server. `T` is the shape its contract promises; the server checks what it sends. */
export async function call<Shape extends z.ZodType>(
  method: string,
  path: string,
  body?: unknown,
): Promise<z.infer<Shape>> {
  const response = await request(method, path, body);
  return (await response.json()) as z.infer<Shape>;
}

/** All pages of a list, or the first `most` items. */
export async function collect<Shape extends z.ZodType<Record<Name, unknown[]>>, const Name extends string>(
  path: string,
  name: Name,
  most = Number.POSITIVE_INFINITY,
): Promise<z.infer<Shape>[Name]> {
  const items: unknown[] = [];
  let next: string | undefined = `${path}${path.includes('?') ? '&' : '?'}limit=${Math.min(most, 100)}`;
  while (next !== undefined && items.length < most) {
    const response = await request('GET', next);
    items.push(...((await response.json()) as z.infer<Shape>)[name]);
    next = /^<\/api\/v1([^>]+)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1];
  }
  return items.slice(0, most) as z.infer<Shape>[Name];
}

export async function request(
  method: string,
  path: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<Response> {
  const config = readConfig(process.env);
  const token = await readToken(dataPaths(config.dataDir).token);
  const response = await fetch(`${config.url}/api/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(signal && { signal }),
  }).catch((error: unknown) => {
    throw new ApiError(
      0,
      `no Gantry answers at ${config.url}: ${reasonOf(error)}`,
      'start one with npm start, or set GANTRY_URL',
    );
  });
  if (response.ok) return response;
  const problem = (await response.json().catch(() => ({ detail: response.statusText }))) as Partial<
    z.infer<typeof problemShape>
  >;
  throw new ApiError(response.status, problem.detail ?? response.statusText, problem.hint);
}

/** GANTRY_TOKEN, else the administrator's token of a server on this machine. */
async function readToken(file: string): Promise<string> {
  const token = process.env.GANTRY_TOKEN ?? (await readFile(file, 'utf8').catch(() => ''));
  if (token.trim() === '')
    throw new ApiError(401, 'there is no token', `set GANTRY_TOKEN, or run this where ${file} can be read`);
  return token.trim();
}

/** `--app`, GANTRY_APP, then the git remote called clever. */
export async function appName(given: string | undefined): Promise<string> {
  const name = given ?? process.env.GANTRY_APP ?? (await appOfRemote());
  if (!name)
    throw new UsageError(
      'which app? use --app NAME, GANTRY_APP, or a repository with the git remote "clever"',
    );
  return encodeURIComponent(name);
}

async function appOfRemote(): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)('git', ['remote', 'get-url', 'clever']);
    return /\/([^/]+?)(?:\.git)?\/?\s*$/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

function reasonOf(error: unknown): string {
  const cause = (error as { cause?: { code?: string; message?: string } }).cause;
  return cause?.code ?? cause?.message ?? String(error);
}
