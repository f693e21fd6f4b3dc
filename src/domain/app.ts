declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** A name that is safe as a host name label, a folder, a label value, a Redis key and HAProxy text. */
export type AppName = Branded<string, 'AppName'>;

/** Names that mean something else in our URLs or would mislead people as host names. */
const reserved = new Set([
  'api',
  'admin',
  'dashboard',
  'git',
  'healthz',
  'livez',
  'localhost',
  'metrics',
  'readyz',
  'www',
  'webhooks',
]);

/** Why a text cannot be the name of an app. */
export function problemWithAppName(text: string): string | undefined {
  if (!/^[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$/.test(text)) {
    return 'an app name has 1 to 40 lower-case letters, digits and hyphens, starts with a letter and does not end in a hyphen';
  }
  return reserved.has(text) ? 'that name is reserved' : undefined;
}

export function parseAppName(text: string): AppName | undefined {
  return problemWithAppName(text) === undefined ? (text as AppName) : undefined;
}

/** A full object id, SHA-1 or SHA-256; the only thing from a push that is ever given to git as an argument. */
export type CommitSha = Branded<string, 'CommitSha'>;

export function parseCommitSha(text: string): CommitSha | undefined {
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text) ? (text as CommitSha) : undefined;
}

export function shortSha(sha: string): string {
  return sha.slice(0, 7);
}

export type App = {
  name: AppName;
  /** The one branch that deploys: the first one pushed. Empty until then. */
  branch: string;
  /** The release that serves, if any. Equal to the number of the deployment that made it. */
  live: number | undefined;
  /** Somebody stopped it: nothing serves until a deployment goes live. `isDone`: and none of its containers is left. */
  stopped: { by: string; at: Date; isDone: boolean } | undefined;
  /** Some of what should serve does not, and cannot be started. */
  trouble: AppTrouble | undefined;
  /** On its way out: nothing new can be asked of it. */
  isDeleted: boolean;
  createdAt: Date;
};

export type AppTrouble = { reason: string; hint?: string };

/** In one line. */
export function showTrouble({ reason, hint }: AppTrouble): string {
  return hint === undefined ? reason : `${reason}; ${hint}`;
}
