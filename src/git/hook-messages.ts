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
  const packets = reportPackets(request, reports).map(
    (text) => `${(text.length + 4).toString(16).padStart(4, '0')}${text}`,
  );
  return frame('1', Buffer.from(`${packets.join('')}0000`, 'latin1'));
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

/** The packets up to the next flush packet; `undefined` when it has not arrived. */
function readSection(text: string, start: number): { packets: string[]; end: number } | undefined {
  const packets: string[] = [];
  let at = start;
  while (at + 4 <= text.length) {
    const length = Number.parseInt(text.slice(at, at + 4), 16);
    if (length === 0) return { packets, end: at + 4 };
    if (!(length >= 4)) throw new Error('the hook sent no packets');
    packets.push(text.slice(at + 4, at + length));
    at += length;
  }
  return undefined;
}

function parseCommand(packet: string): RefUpdate {
  const [, oldSha, newSha, ref] = /^([0-9a-f]+) ([0-9a-f]+) ([^]*?)\n?$/.exec(packet) ?? [];
  if (oldSha === undefined || newSha === undefined || ref === undefined)
    throw new Error('the hook sent no command of git');
  return { ref, oldSha, newSha };
}

function frame(to: '1' | '2', bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(to + bytes.length.toString(16).padStart(8, '0')), bytes]);
}

function toUtf8(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}

function fromUtf8(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
