import { safeText } from '../domain/safe-text.ts';
import { flushPacket, fromUtf8, packet, readSection, toUtf8 } from './pkt-line.ts';
import type { RefReport, RefUpdate } from './push.ts';

export type HookRequest = {
  /** Of git-receive-pack. */
  pid: number;
  updates: RefUpdate[];
  options: string[];
  /** Names that are no UTF-8, byte for byte as latin1 text. git allows them, we do not. */
  unreadable: string[];
};

/**
 * What the hook sends: a line with the process id of git-receive-pack, then git's packets: the commands, a flush packet,
 * the push options, a flush packet. `undefined` while something is missing; throws on anything else.
 */
export function parseHookRequest(bytes: Buffer): HookRequest | undefined {
  const text = bytes.toString('latin1');
  const lineEnd = text.indexOf('\n');
  if (lineEnd === -1) return undefined;
  if (!/^\d+$/.test(text.slice(0, lineEnd))) throw new Error('the hook sent no process id');
  const commands = readSection(text, lineEnd + 1);
  const options = commands && readSection(text, commands.end);
  if (!options) return undefined;
  const updates = commands.packets.map(parseCommand);
  const isReadable = (update: RefUpdate) => fromUtf8(toUtf8(update.ref)) === update.ref;
  return {
    pid: Number(text.slice(0, lineEnd)),
    updates: updates.filter(isReadable).map((update) => ({ ...update, ref: toUtf8(update.ref) })),
    options: options.packets.map(toUtf8),
    unreadable: updates.filter((update) => !isReadable(update)).map((update) => update.ref),
  };
}

/** A line for the pusher, as the hook expects it. */
export function printFrame(line: string): Buffer {
  // A NUL makes git swallow what follows it.
  return frame('2', Buffer.from(`${line.replaceAll('\0', '')}\n`));
}

/** The verdict, as the hook expects it and git after it. A ref that nobody decided about is refused. */
export function reportFrame(request: HookRequest, reports: readonly RefReport[]): Buffer {
  const packets = reportPackets(request, reports).map(packet);
  return frame('1', Buffer.from(packets.join('') + flushPacket, 'latin1'));
}

/** The answer to git, packet by packet, as latin1 text. */
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

/** One "old new ref", the name byte for byte as latin1 text. Throws on anything else. */
export function parseCommand(text: string): RefUpdate {
  const [, oldSha, newSha, ref] = /^([0-9a-f]+) ([0-9a-f]+) ([^]*?)\n?$/.exec(text) ?? [];
  if (oldSha === undefined || newSha === undefined || ref === undefined)
    throw new Error('this is no command of git');
  return { ref, oldSha, newSha };
}

function frame(to: '1' | '2', bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(to + bytes.length.toString(16).padStart(8, '0')), bytes]);
}
