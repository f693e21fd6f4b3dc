import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from 'zod';
import type { problemShape } from '../api/contract/server.ts';
import { dataPaths, readConfig } from '../config.ts';
import { ApiError, UsageError } from './exit-code.ts';
import { parseRemote, remoteUrl } from './git-settings.ts';
import { readLogins } from './logins.ts';

/** Asks the server. `T` is the shape its contract promises; the server checks what it sends. */
export async function call<Shape extends z.ZodType>(
  method: string,
  path: string,
  body?: unknown,
): Promise<z.infer<Shape>> {
  const response = await request(method, path, body);
  return (await response.json()) as z.infer<Shape>;
}

const restartMs = 30_000;

/** Reads what a command that took long ended with: a server that is restarted just then is waited for. */
export async function readPatiently<Shape extends z.ZodType>(path: string): Promise<z.infer<Shape>> {
  const deadline = performance.now() + restartMs;
  for (;;) {
    try {
      return await call<Shape>('GET', path);
    } catch (error) {
      const isPassing = error instanceof ApiError && (error.status === 0 || error.status >= 500);
      if (!isPassing || performance.now() > deadline) throw error;
      await sleep(250);
    }
  }
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

export async function request(method: string, path: string, body?: unknown): Promise<Response> {
  return ask(await findServer(), method, path, { body });
}

export type Server = { url: string; token: string | undefined };

export type AskOptions = {
  body?: unknown;
  /** Instead of a body in JSON, sent as it is. */
  upload?: { type: string; content: Blob | ReadableStream };
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** A refusal is an answer as well. */
  acceptsProblems?: boolean;
};

export async function ask(
  { url, token }: Server,
  method: string,
  path: string,
  { body, upload, headers, signal, acceptsProblems }: AskOptions = {},
): Promise<Response> {
  if (token === undefined)
    throw new ApiError(401, `there is no token for ${url}`, `gantry login ${url}, or set GANTRY_TOKEN`);
  const response = await fetch(`${url}/api/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(upload && { 'content-type': upload.type }),
      ...headers,
    },
    ...(upload && { body: upload.content, duplex: 'half' as const }),
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(signal && { signal }),
  }).catch((error: unknown) => {
    throw new ApiError(
      0,
      `no Gantry answers at ${url}: ${reasonOf(error)}`,
      'start one with npm start, or set GANTRY_URL',
    );
  });
  if (response.ok || acceptsProblems) return response;
  const problem = (await response.json().catch(() => ({ detail: response.statusText }))) as Partial<
    z.infer<typeof problemShape>
  >;
  throw new ApiError(response.status, problem.detail ?? response.statusText, problem.hint);
}

/**
 * GANTRY_URL, the server this repository is pushed to if it is known, the last login, this machine; and
 * GANTRY_TOKEN, the token of the login, or the administrator's of a server on this machine.
 */
export async function findServer(): Promise<Server> {
  const config = readConfig(process.env);
  const { current, servers } = await readLogins();
  const here = process.env.GANTRY_URL ? undefined : parseRemote((await remoteUrl()) ?? '')?.server;
  const isKnown = here !== undefined && (servers[here] !== undefined || here === config.url);
  const chosen = isKnown ? here : current;
  const url = process.env.GANTRY_URL ? config.url : (chosen ?? config.url);
  const given = process.env.GANTRY_TOKEN?.trim() || servers[url]?.token;
  if (given !== undefined || url !== config.url) return { url, token: given };
  const token = await readFile(dataPaths(config.dataDir).token, 'utf8').catch(() => '');
  return { url, token: token.trim() || undefined };
}

/** The app a command is about, given as an argument or as an option. */
export function oneOf(argument: string | undefined, option: string | undefined): string | undefined {
  if (argument !== undefined && option !== undefined && argument !== option)
    throw new UsageError(`which app, ${argument} or ${option}?`);
  return argument ?? option;
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
  return /\/([^/]+?)(?:\.git)?\/?$/.exec((await remoteUrl()) ?? '')?.[1];
}

function reasonOf(error: unknown): string {
  const cause = (error as { cause?: { code?: string; message?: string } }).cause;
  return cause?.code ?? cause?.message ?? String(error);
}
