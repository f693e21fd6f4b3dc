import type { cronShape } from '../api/contract/tasks.ts';
import { appName, call } from './api-client.ts';
import { printJson, printTable } from './print.ts';

/** What the live release runs at which times (UTC), and how it went last. */
export async function listCron(options: { app?: string; json?: boolean }): Promise<void> {
  const { cron } = await call<typeof cronShape>('GET', `/apps/${await appName(options.app)}/cron`);
  if (options.json) return printJson(cron);
  if (cron.length === 0) return console.error('the live release has no clevercloud/cron.json');
  printTable(
    ['SCHEDULE', 'NEXT', 'LAST', 'COMMAND'],
    cron.map(({ schedule, next, last, skippedAt, command }) => [
      schedule,
      next ?? '-',
      [last ? `task ${last.number} ${last.state}` : '-', ...(skippedAt ? [`skipped ${skippedAt}`] : [])].join(
        ', ',
      ),
      command,
    ]),
  );
}
