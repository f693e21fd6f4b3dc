/** What one look at the machine showed. `fix` is a command or a setting, and there whenever something is not well. */
export type Finding =
  | { check: string; state: 'ok'; detail: string }
  | { check: string; state: 'warn' | 'fail'; detail: string; fix: string };

export function ok(check: string, detail: string): Finding {
  return { check, state: 'ok', detail };
}

export function warn(check: string, detail: string, fix: string): Finding {
  return { check, state: 'warn', detail, fix };
}

export function fail(check: string, detail: string, fix: string): Finding {
  return { check, state: 'fail', detail, fix };
}
