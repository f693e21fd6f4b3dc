import { pino } from 'pino';

export type Logger = pino.Logger;

/** Operator logs: one JSON line per state change, to stdout or a file. Log lines for pushers go elsewhere (store/log-writer.ts). */
export function createLogger(level: string, name: string, file?: string): Logger {
  return pino(
    {
      level,
      base: { name },
      redact: {
        paths: ['*.authorization', '*.token', '*.password', 'authorization', 'token', 'password', 'env'],
        censor: '(hidden)',
      },
    },
    // Synchronous: the last lines before a crash are the ones that matter.
    pino.destination({ dest: file ?? 1, sync: true, mkdir: true, mode: 0o600 }),
  );
}
