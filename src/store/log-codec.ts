import type { LogLine } from '../domain/log-line.ts';

/** How log lines are kept, in Redis and in archives: one character for the kind, the text, a newline. */
const codes = {
  heading: '>',
  detail: '-',
  output: '|',
  error: '!',
  warning: '?',
  hint: '*',
  success: '+',
} as const satisfies Record<LogLine['kind'], string>;

const kinds = new Map(Object.entries(codes).map(([kind, code]) => [code as string, kind as LogLine['kind']]));

export function encodeLine(line: LogLine): string {
  return `${codes[line.kind]}${line.text.replaceAll(/[\r\n]/g, ' ')}\n`;
}

export function decodeLines(text: string): LogLine[] {
  const lines = text.split('\n');
  lines.pop();
  return lines.map((line) => ({ kind: kinds.get(line.slice(0, 1)) ?? 'output', text: line.slice(1) }));
}
