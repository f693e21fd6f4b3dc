/** Errors about a request that people see: one line each, what is wrong and what to do. */
const table = {
  UNAUTHENTICATED: { status: 401, title: 'credentials are missing or wrong' },
  FORBIDDEN: { status: 403, title: 'this token may not do that' },
  NOT_FOUND: { status: 404, title: 'not found' },
  INVALID: { status: 422, title: 'the input is not valid' },
  CONFLICT: { status: 409, title: 'that is not possible now' },
  PRECONDITION_FAILED: { status: 412, title: 'it was changed meanwhile' },
  TOO_MANY_ATTEMPTS: { status: 429, title: 'too many attempts' },
  QUEUE_UNAVAILABLE: { status: 503, title: 'the deploy queue is unavailable' },
} as const;

export type UserErrorCode = keyof typeof table;

export class UserError extends Error {
  readonly code: UserErrorCode;
  readonly status: number;
  readonly hint: string | undefined;
  /** Seconds. */
  readonly retryAfter: number | undefined;

  constructor(code: UserErrorCode, message: string, hint?: string, retryAfter?: number) {
    super(message);
    this.name = 'UserError';
    this.code = code;
    this.status = table[code].status;
    this.hint = hint;
    this.retryAfter = retryAfter;
  }

  get title(): string {
    return table[this.code].title;
  }
}

/** The message of whatever was thrown, for a log line or a sentence. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
