import { pino } from 'pino';

export type Logger = pino.Logger;

const unwrittenBytes = 1 << 20;

/**
 * Operator logs: one JSON line per state change, to stdout or a file. Log lines for pushers go elsewhere
 * (store/log-writer.ts).
 */
export function createLogger(level: string, name: string, file?: string): Logger {
  // Synchronous: the last lines before a crash are the ones that matter.
  const destination = pino.destination({
    dest: file ?? 1,
    sync: true,
    mkdir: true,
    mode: 0o600,
    maxLength: unwrittenBytes,
  });
  // A full disk must not end the process: what could not be written is written with the next line, up to a limit.
  destination.on('error', () => {});
  return pino(
    {
      level,
      base: { name },
      redact: {
        paths: ['*.authorization', '*.token', '*.password', 'authorization', 'token', 'password', 'env'],
        censor: '(hidden)',
      },
    },
    destination,
  );
}
