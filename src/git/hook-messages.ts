import { safeText } from '../domain/safe-text.ts';
import type { RefReport, RefUpdate } from './push.ts';

export type HookRequest = {
  /** Of git-receive-pack. */
  pid: number;
  updates: RefUpdate[];
  options: string[];
  /** Names that are no UTF-8, byte for byte as latin1 text. git allows them, we do not. */
  unreadable: string[];
};

/** What the hook sends: one JSON line in which every string is raw bytes as latin1 text. */
export function parseHookRequest(line: string): HookRequest {
  const message = JSON.parse(line) as { pid: number; updates: RefUpdate[]; options: string[] };
  const isReadable = (update: RefUpdate) => fromUtf8(toUtf8(update.ref)) === update.ref;
  return {
    pid: message.pid,
    updates: message.updates.filter(isReadable).map((update) => ({ ...update, ref: toUtf8(update.ref) })),
    options: message.options.map(toUtf8),
    unreadable: message.updates.filter((update) => !isReadable(update)).map((update) => update.ref),
  };
}

/** The hook's answer to git, packet by packet, as latin1 text. A ref that nobody decided about is refused. */
export function reportPackets(request: HookRequest, reports: readonly RefReport[]): string[] {
  const byRef = new Map(reports.map((report) => [report.ref, report]));
  const decided = request.updates.flatMap(({ ref }) =>
    packetsOf(byRef.get(ref) ?? { ref, status: 'refused', reason: 'internal error' }).map(fromUtf8),
  );
  return [...decided, ...request.unreadable.map((ref) => `ng ${ref} the name is not UTF-8`)];
}

function packetsOf(report: RefReport): string[] {
  switch (report.status) {
    case 'ok':
      return [`ok ${report.ref}`, 'option fall-through'];
    case 'shown-as':
      return [
        `ok ${report.ref}`,
        `option refname ${report.refName}`,
        `option old-oid ${report.oldSha}`,
        `option new-oid ${report.newSha}`,
      ];
    case 'refused':
      return [`ng ${report.ref} ${safeText(report.reason, 300)}`];
  }
}

function toUtf8(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}

function fromUtf8(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
