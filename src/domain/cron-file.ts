/** One line of an app's `clevercloud/cron.json`. Times are UTC. */
export type CronEntry = { schedule: string; command: string };

const mostEntries = 50;

/**
 * Reads the file as Clever Cloud defines it: a JSON array of texts, each with the five fields of cron (minute, hour, day of
 * the month, month, day of the week) and a command behind them. Every problem names its entry.
 */
export function parseCronFile(text: string): { entries: CronEntry[] } | { problems: string[] } {
  let lines: unknown;
  try {
    lines = JSON.parse(text);
  } catch (error) {
    return { problems: [`it is not valid JSON: ${(error as Error).message}`] };
  }
  if (!Array.isArray(lines)) return { problems: ['it must be a JSON array of texts'] };
  if (lines.length > mostEntries) return { problems: [`it has more than ${mostEntries} entries`] };
  const problems: string[] = [];
  const entries = lines.flatMap((line: unknown, index) => {
    const parsed = typeof line === 'string' ? parseEntry(line) : 'is no text';
    if (typeof parsed !== 'string') return [parsed];
    problems.push(`entry ${index + 1} ${parsed}`);
    return [];
  });
  return problems.length > 0 ? { problems } : { entries };
}

/** An entry, or what is wrong with it. */
function parseEntry(line: string): CronEntry | string {
  const [, schedule, command] = /^\s*((?:\S+\s+){4}\S+)\s+(\S[^]*)$/.exec(line) ?? [];
  if (schedule === undefined || command === undefined)
    return 'must be five fields and a command: "0 4 * * * ./nightly.sh"';
  const fields = schedule.split(/\s+/);
  for (const [index, { name, low, high, names }] of fieldRules.entries()) {
    const field = fields[index] ?? '';
    if (!isField(field, low, high, names)) return `has no valid ${name}: "${field.slice(0, 30)}"`;
  }
  return { schedule: fields.join(' '), command: command.trimEnd() };
}

const fieldRules: { name: string; low: number; high: number; names: string[] }[] = [
  { name: 'minute (0-59)', low: 0, high: 59, names: [] },
  { name: 'hour (0-23)', low: 0, high: 23, names: [] },
  { name: 'day of the month (1-31)', low: 1, high: 31, names: [] },
  {
    name: 'month (1-12)',
    low: 1,
    high: 12,
    names: ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'],
  },
  {
    name: 'day of the week (0-7)',
    low: 0,
    high: 7,
    names: ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'],
  },
];

/** `*`, `5`, `1-5`, any of them with a step behind a slash, and lists of all that. */
function isField(field: string, low: number, high: number, names: readonly string[]): boolean {
  const value = (text: string): number => {
    const named = names.indexOf(text.toUpperCase());
    if (named !== -1) return low === 0 ? named : named + 1;
    return /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN;
  };
  return field.split(',').every((part) => {
    const [range = '', step, ...more] = part.split('/');
    if (more.length > 0 || (step !== undefined && !(/^\d{1,2}$/.test(step) && Number(step) > 0)))
      return false;
    if (range === '*') return true;
    const [from = '', to, ...rest] = range.split('-');
    const first = value(from);
    const last = to === undefined ? first : value(to);
    return rest.length === 0 && first >= low && last <= high && first <= last;
  });
}
