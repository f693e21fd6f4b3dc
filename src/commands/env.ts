import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import type { z } from 'zod';
import type { envShape } from '../api/contract/apps.ts';
import { problemWithEnvName } from '../domain/env.ts';
import { formatExpert, parseEnvImport } from '../domain/env-import.ts';
import { appName, ask, call, findServer, request } from './api-client.ts';
import { UsageError } from './exit-code.ts';
import { printJson } from './print.ts';

type Options = { app?: string; json?: boolean };

export async function listEnv(options: Options & { expert?: boolean }): Promise<void> {
  const { env } = await call<typeof envShape>('GET', `/apps/${await appName(options.app)}/env`);
  if (options.json) return printJson(env);
  if (options.expert) return void process.stdout.write(formatExpert(env));
  for (const [name, value] of Object.entries(env).sort(([a], [b]) => a.localeCompare(b))) {
    console.log(`${name}=${/^[\w@%+:,./-]*$/.test(value) ? value : JSON.stringify(value)}`);
  }
}

export async function setEnv(pairs: readonly string[], options: Options): Promise<void> {
  await change(await readPairs(pairs), options);
}

export async function readPairs(pairs: readonly string[]): Promise<Record<string, string>> {
  const env: [name: string, value: string][] = [];
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    if (equals < 1) throw new UsageError(`"${pair}" is not NAME=value`);
    const name = pair.slice(0, equals);
    const problem = problemWithEnvName(name);
    if (problem) throw new UsageError(`"${name}" is refused: ${problem}`);
    env.push([name, await readValue(pair.slice(equals + 1))]);
  }
  return Object.fromEntries(env);
}

/** From a file or standard input, in any of the formats of Clever Cloud's console; all or nothing. */
export async function importEnv(
  file: string | undefined,
  options: Options & { replace?: boolean },
): Promise<void> {
  const parsed = parseEnvImport(await readValue(file === undefined || file === '-' ? '-' : `@${file}`));
  if ('problems' in parsed) throw new UsageError(`nothing was imported: ${parsed.problems.join('; ')}`);
  const app = await appName(options.app);
  const response = await request('GET', `/apps/${app}/env`);
  const before = ((await response.json()) as z.infer<typeof envShape>).env;
  const env: Record<string, string | null> = { ...parsed.env };
  if (options.replace) for (const name of Object.keys(before)) env[name] ??= null;
  const changed = Object.entries(env).filter(([name, value]) => (before[name] ?? null) !== value);
  if (changed.length === 0) return console.error('nothing to change');
  // What somebody else has set in between is not to be unset unseen.
  const etag = response.headers.get('etag');
  await change(Object.fromEntries(changed), { ...options, app }, etag ? { 'if-match': etag } : {});
}

export async function unsetEnv(names: readonly string[], options: Options): Promise<void> {
  await change(Object.fromEntries(names.map((name) => [name, null])), options);
}

async function change(
  env: Record<string, string | null>,
  options: Options,
  headers: Record<string, string> = {},
): Promise<void> {
  const app = await appName(options.app);
  await ask(await findServer(), 'PATCH', `/apps/${app}/env`, { body: { env }, headers });
  console.error(
    `changed ${Object.keys(env).join(', ')}; in force with the next deployment: gantry restart, or gantry redeploy if the build needs it`,
  );
}

/** Values that should not be on a command line come from a file or standard input. */
export async function readValue(given: string): Promise<string> {
  if (given === '-') return text(process.stdin);
  return given.startsWith('@') ? readFile(given.slice(1), 'utf8') : given;
}
