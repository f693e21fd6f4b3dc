import type { auditShape } from '../api/contract/accounts.ts';
import { collect } from './api-client.ts';
import { UsageError } from './exit-code.ts';
import { printJson, printTable } from './print.ts';

/** Who did what, the newest first. */
export async function showAudit(options: { app?: string; limit: string; json?: boolean }): Promise<void> {
  const limit = /^[1-9]\d{0,4}$/.test(options.limit) ? Number(options.limit) : undefined;
  if (!limit) throw new UsageError(`"${options.limit}" is no number of lines`);
  const path = options.app === undefined ? '/audit' : `/audit?app=${encodeURIComponent(options.app)}`;
  const audit = await collect<typeof auditShape, 'audit'>(path, 'audit', limit);
  if (options.json) return printJson(audit);
  printTable(
    ['WHEN', 'WHO', 'FROM', 'APP', 'DID', 'WHAT', 'RESULT'],
    audit.map(({ at, by, address, app, action, what, result }) => [
      at,
      by,
      address || '-',
      app || '-',
      action,
      what || '-',
      result,
    ]),
  );
}
