import type { Outcome } from './play.ts';

/** A line for every fault: how often it happened, what was not kept, how long it took until all was well. */
export function table(outcomes: readonly Outcome[]): string {
  const faults = new Set(outcomes.map(({ scene }) => scene.fault.name));
  const rows = [...faults].map((fault) => {
    const played = outcomes.filter(({ scene }) => scene.fault.name === fault);
    const times = played.map(({ recoveryMs }) => recoveryMs / 1000).toSorted((a, b) => a - b);
    const median = times[Math.floor(times.length / 2)] ?? 0;
    const broken = played.filter((one) => one.broken.length > 0).length;
    return [
      fault,
      String(played.length),
      broken === 0 ? 'none' : `in ${broken}`,
      `${median.toFixed(1)} s (at most ${(times.at(-1) ?? 0).toFixed(1)} s)`,
      `${sum(played.map(({ failed }) => failed))} of ${sum(played.map(({ requests }) => requests))}`,
    ];
  });
  const lines = [['fault', 'times', 'promise broken', 'recovery', 'requests failed'], ...rows];
  const widths =
    lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  return lines
    .map((line) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '))
    .join('\n');
}

/** One scene and what came of it. */
export function describeOutcome({ scene: { failpoint, fault }, state, recoveryMs, broken }: Outcome): string {
  const took = `${(recoveryMs / 1000).toFixed(1)} s`;
  return [
    `${failpoint.padEnd(24)} ${fault.name.padEnd(20)} ${took.padStart(8)}  ${state}`,
    ...broken.map((sentence) => `    BROKEN ${sentence}`),
  ].join('\n');
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
