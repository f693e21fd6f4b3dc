import type { Account } from '../domain/account.ts';
import type { AppName } from '../domain/app.ts';

/** One "old new ref" of a push, as git sends it to the hook. All zeros mean "does not exist". Names are hostile text. */
export type RefUpdate = { ref: string; oldSha: string; newSha: string };

export type Push = {
  app: AppName;
  account: Account;
  /** Where it comes from. */
  address: string;
  updates: readonly RefUpdate[];
  options: readonly string[];
  /** False once the pusher's connection is gone; git goes on without it. */
  isWatched: () => boolean;
};

/** What git is told about one ref; becomes the status line of the push. */
export type RefReport =
  /** git itself moves the ref (the protocol's `option fall-through`). */
  | { ref: string; status: 'ok' }
  /** The ref is already right, or is shown as another one; git moves nothing. */
  | { ref: string; status: 'shown-as'; refName: string; oldSha: string; newSha: string }
  /** Refused, with one line of our own words. */
  | { ref: string; status: 'refused'; reason: string };

/**
 * Decides about the refs of one push, after their objects are stored and before any ref moves.
 * `print` shows a line to the pusher and resolves when it was taken; it rejects once nobody listens any more.
 * `signal` aborts when git's receive-pack died; then nobody will move the ref.
 */
export type ReceivePush = (
  push: Push,
  print: (line: string) => Promise<void>,
  signal: AbortSignal,
) => Promise<RefReport[]>;
