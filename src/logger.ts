import { pino } from 'pino';

export type Logger = pino.Logger;

/** Operator logs: one JSON line per state change. Log lines for pushers go elsewhere (store/log-store.ts). */
export function createLogger(level: string, name: string): Logger {
  return pino({
    name,
    level,
    base: { name },
    redact: {
      paths: ['*.authorization', '*.token', '*.password', 'req.headers', 'authorization', 'token', 'password'],
      censor: '(hidden)',
    },
  });
}
