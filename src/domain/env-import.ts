import { problemWithEnvName, problemWithEnvValue } from './env.ts';

export type ImportResult = { env: Record<string, string> } | { problems: string[] };

/**
 * Reads variables in any of the formats Clever Cloud's console takes: a line `NAME=value` each, the same with quoted
 * values that may span lines ("expert"), or JSON as `[{"name": …, "value": …}]`. `{"NAME": "value"}` is fine, too, as
 * `gantry env list --json` prints it. Either all of it is good, or every problem is named with its line.
 */
export function parseEnvImport(text: string): ImportResult {
  const clean = text.replace(/^\uFEFF/, '');
  const problems: string[] = [];
  const env = new Map<string, string>();
  for (const entry of /^\s*[[{]/.test(clean) ? readJson(clean) : readLines(clean)) {
    if ('problem' in entry) {
      problems.push(entry.problem);
      continue;
    }
    const { name, value, where } = entry;
    const problem = problemWithEnvName(name) ?? problemWithEnvValue(name, value);
    if (problem !== undefined) problems.push(`${where}: ${JSON.stringify(name.slice(0, 50))}: ${problem}`);
    else if (env.has(name)) problems.push(`${where}: ${name} is there twice`);
    else env.set(name, value);
  }
  return problems.length > 0 ? { problems } : { env: Object.fromEntries(env) };
}

/** In the "expert" format, which `parseEnvImport` reads back unchanged. */
export function formatExpert(env: Readonly<Record<string, string>>): string {
  return Object.entries(env)
    .map(([name, value]) => {
      // Backslashes count only in front of a quote; the closing one is in front of a quote, too.
      const quoted = value.replace(/(\\*)("|$(?![^]))/g, (_, slashes: string, quote: string) =>
        quote === '' ? slashes + slashes : `${slashes}${slashes}\\"`,
      );
      return `${name}="${quoted}"\n`;
    })
    .join('');
}

type Entry = { name: string; value: string; where: string } | { problem: string };

function readJson(text: string): Entry[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    return [{ problem: `not valid JSON: ${(error as Error).message}` }];
  }
  const entries: [where: string, name: unknown, value: unknown][] = Array.isArray(parsed)
    ? parsed.map((entry: { name?: unknown; value?: unknown } | null, index) => [
        `entry ${index + 1}`,
        entry?.name,
        entry?.value,
      ])
    : Object.entries(parsed as object).map(([name, value]) => [name.slice(0, 50), name, value]);
  return entries.map(([where, name, value]) =>
    typeof name === 'string' && typeof value === 'string'
      ? { name, value, where }
      : { problem: `${where}: must be {"name": "…", "value": "…"} with texts` },
  );
}

function readLines(text: string): Entry[] {
  const entries: Entry[] = [];
  const lines = text.split('\n');
  for (let at = 0; at < lines.length; at += 1) {
    const where = `line ${at + 1}`;
    const line = (lines[at] ?? '').replace(/\r$/, '');
    if (line.trim() === '' || line.trim().startsWith('#')) continue;
    const [, name, rest = ''] = /^\s*(?:export\s+)?([^=]*)=([^]*)$/.exec(line) ?? [];
    if (name === undefined) {
      entries.push({ problem: `${where}: is not NAME=value` });
      continue;
    }
    const quote = rest[0];
    if (quote !== '"' && quote !== "'") {
      entries.push({ name, value: rest, where });
      continue;
    }
    // A quoted value goes on over as many lines as it takes to its closing quote.
    let quoted = rest.slice(1);
    let end = closingQuote(quoted, quote);
    while (end === -1 && at + 1 < lines.length) {
      at += 1;
      quoted += `\n${(lines[at] ?? '').replace(/\r$/, '')}`;
      end = closingQuote(quoted, quote);
    }
    if (end === -1) entries.push({ problem: `${where}: the ${quote} of ${name} is never closed` });
    else if (!/^\s*;?\s*$/.test(quoted.slice(end + 1)))
      entries.push({ problem: `${where}: something follows the closing ${quote} of ${name}` });
    else entries.push({ name, value: unquote(quoted.slice(0, end), quote), where });
  }
  return entries;
}

/** The first quote with an even number of backslashes in front of it. */
function closingQuote(text: string, quote: string): number {
  let slashes = 0;
  for (let index = 0; index < text.length; index += 1) {
    if (text[index] === quote && slashes % 2 === 0) return index;
    slashes = text[index] === '\\' ? slashes + 1 : 0;
  }
  return -1;
}

function unquote(text: string, quote: string): string {
  const escaped = quote === '"' ? /(\\*)("|$(?![^]))/g : /(\\*)('|$(?![^]))/g;
  return text.replace(
    escaped,
    (_, slashes: string, end: string) => '\\'.repeat(Math.floor(slashes.length / 2)) + end,
  );
}
