/** One line about who did what. Names of variables may be in it, values never. */
export type AuditEntry = {
  /** The name and id of the token. */
  by: string;
  tokenId: string;
  /** Where from. */
  address: string;
  /** Empty when it is about no app. */
  app: string;
  action: string;
  what: string;
  /** `ok`, or why not. */
  result: string;
};

/** Never rejects: what has been done is not undone because it could not be written down. */
export type RecordAudit = (entry: AuditEntry) => Promise<void>;

/**
 * The parts of a request's body that may be written down: the names of all fields, values only of the fields in `shown`
 * and of numbers and switches, and of variables the names, with a minus for what is taken away.
 */
export function describeBody(body: unknown, shown: readonly string[] = []): string {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return '';
  return Object.entries(body)
    .map(([name, value]: [string, unknown]) => {
      if (name === 'env' && typeof value === 'object' && value !== null)
        return Object.entries(value)
          .map(([variable, text]) => `${text === null ? '-' : ''}${wordOf(variable)}`)
          .join(' ');
      if (value === undefined) return '';
      if (typeof value === 'number' || typeof value === 'boolean') return `${wordOf(name)}=${value}`;
      if (!shown.includes(name)) return wordOf(name);
      const texts = [value].flat().map((item: unknown) => (typeof item === 'string' ? item : 'null'));
      return `${wordOf(name)}=${texts.join(',')}`;
    })
    .filter((part) => part !== '')
    .join(' ');
}

/** What is no name could be a value in the wrong place. */
function wordOf(name: string): string {
  return /^[A-Za-z_]\w{0,99}$/.test(name) ? name : '(no name)';
}
