/** An answer of the server that is a refusal, or a server that does not answer. */
export class ApiError extends Error {
  readonly status: number;
  readonly hint: string | undefined;

  constructor(status: number, message: string, hint?: string) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.hint = hint;
  }
}

export class UsageError extends Error {}

/** 2 usage, 3 not allowed, 4 not found, 5 conflict, 8 unreachable, 1 anything else; 6 and 7 are ends of deployments. */
export function exitCodeFor(error: unknown): number {
  if (error instanceof UsageError) return 2;
  if (!(error instanceof ApiError)) return 1;
  switch (error.status) {
    case 0:
    case 503:
      return 8;
    case 401:
    case 403:
      return 3;
    case 404:
      return 4;
    case 409:
    case 412:
      return 5;
    case 400:
    case 422:
      return 2;
    default:
      return 1;
  }
}
