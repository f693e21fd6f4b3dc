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
  DISK_UNAVAILABLE: { status: 503, title: 'the disk of the server takes nothing' },
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

/** Redis is away or does not answer, as its client says it. The request may have been carried out all the same. */
export function isRedisTrouble(error: unknown): boolean {
  return /Command timed out|Connection is closed|isn't writeable|max retries per request|ECONNREFUSED|ENOENT.*redis|^LOADING/i.test(
    messageOf(error),
  );
}

type Refusals = readonly { said: RegExp; reason: string; fix: string }[];

/** As Node says it, and programs that were started. */
const diskRefusals: Refusals = [
  {
    said: /ENOSPC|No space left on device|Out of diskspace/i,
    reason: 'the disk of the server is full',
    fix: 'on the server: df -h and df -i say whether bytes or inodes are used up',
  },
  {
    said: /EROFS|Read-only file system/i,
    reason: 'the disk of the server is read-only',
    fix: 'on the server: dmesg says why; remount it, or replace the disk',
  },
  {
    said: /\bEIO\b|Input\/output error/i,
    reason: 'the disk of the server gives errors',
    fix: 'on the server: dmesg says which; replace the disk',
  },
];

/** The disk does not take what is written there: why, and what to do. */
export function diskRefusal(error: unknown): { reason: string; fix: string } | undefined {
  return diskRefusals.find(({ said }) => said.test(messageOf(error)));
}

const limitRefusals: Refusals = [
  {
    said: /\b(EMFILE|ENFILE)\b|Too many open files/i,
    reason: 'the server has as many files open as it may',
    fix: 'on the server: raise that limit (LimitNOFILE of its unit, or ulimit -n)',
  },
  {
    said: /\bspawn \S+ EAGAIN\b/,
    reason: 'the server has as many processes as it may',
    fix: 'on the server: raise that limit (TasksMax of its unit, or ulimit -u)',
  },
  {
    said: /\bENOMEM\b/,
    reason: 'the server has no memory left',
    fix: 'on the server: free -m says how much',
  },
];

/** The machine does not give what every process needs: why, and what to do. */
export function machineRefusal(error: unknown): { reason: string; fix: string } | undefined {
  return diskRefusal(error) ?? limitRefusals.find(({ said }) => said.test(messageOf(error)));
}

const refusals: Refusals = [
  {
    said: /^OOM /m,
    reason: 'Redis is full (maxmemory)',
    fix: 'give it more memory: maxmemory in redis.conf',
  },
  {
    said: /^(READONLY|NOREPLICAS) /m,
    reason: 'Redis may only be read: it is a replica now',
    fix: 'make it the master again, or check GANTRY_REDIS_URL',
  },
  { said: /^MISCONF /m, reason: 'Redis cannot write to its disk', fix: 'free space where its data are' },
  {
    said: /^(NOAUTH|WRONGPASS|NOPERM) /m,
    reason: 'Redis refuses our password',
    fix: 'check the password in GANTRY_REDIS_URL',
  },
];

/** Redis answers, but does not do what it is told: why, as far as that can be mended. */
export function redisRefusal(error: unknown): { reason: string; fix: string } | undefined {
  const { previousErrors = [] } = (error ?? {}) as { previousErrors?: readonly unknown[] };
  const said = [error, ...previousErrors].map(messageOf).join('\n');
  return refusals.find((refusal) => refusal.said.test(said));
}
