import { readFile, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { type CronEntry, parseCronFile } from '../domain/cron-file.ts';
import type { Problem } from '../domain/deployment.ts';
import { safeText } from '../domain/safe-text.ts';
import type { Checkout } from './check-out.ts';

const cronFile = join('clevercloud', 'cron.json');
const largest = 256 * 1024;

/** What the commit wants to be run at which times. A file that is wrong is told before anything is built. */
export async function readCron({
  dir,
  appDir,
}: Checkout): Promise<{ cron: CronEntry[] } | { problem: Problem }> {
  const path = await realpath(join(appDir, cronFile)).catch(() => undefined);
  if (path === undefined) return { cron: [] };
  const reason = `${cronFile} cannot be used`;
  if (!path.startsWith((await realpath(dir)) + sep))
    return { problem: { reason, details: ['it is a link out of the repository'] } };
  const text = await readFile(path, 'utf8').catch(() => '');
  const parsed = text.length > largest ? { problems: ['it is larger than 256 KiB'] } : parseCronFile(text);
  if ('entries' in parsed) return { cron: parsed.entries };
  const [first = '', ...more] = parsed.problems.map((problem) => safeText(problem, 120));
  return { problem: { reason: `${reason}: ${first}`, details: more } };
}
