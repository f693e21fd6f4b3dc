import { safeText } from '../domain/safe-text.ts';

export function printJson(data: unknown): void {
  console.log(JSON.stringify(data, null, 2));
}

/** Columns as wide as their widest cell; cells are made safe for a terminal. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const all = [head, ...rows].map((row) => row.map((cell) => safeText(cell, 200)));
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  for (const row of all)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    );
}
