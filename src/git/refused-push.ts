import type { IncomingMessage, ServerResponse } from 'node:http';
import { safeText } from '../domain/safe-text.ts';
import { gitBody } from './git-body.ts';
import { type GitRefusal, sendRefusal } from './git-refusal.ts';
import { GitReply } from './git-reply.ts';
import { parseCommand } from './hook-messages.ts';
import { flushPacket, fromUtf8, packet, readSection } from './pkt-line.ts';

export type RefusedPushLimits = { bodyIdleMs: number; stallMs: number; maxPushBytes: number };

const maxCommandBytes = 1024 * 1024;

/** What a sideband packet takes: its greatest length, less that and the number of its band. */
const sidebandBytes = 65_520 - 5;

type Asked = { refs: string[]; capabilities: ReadonlySet<string> };

/**
 * Refuses a whole push inside git's protocol. On the second request of a push git shows a status and no sentence;
 * so each ref is refused with the first line of the sentence, and the others are shown above it. To the empty push that
 * git sends before a large one, it answers as git does: nothing. Never rejects.
 */
export async function refusePush(
  req: IncomingMessage,
  res: ServerResponse,
  refusal: GitRefusal,
  limits: RefusedPushLimits,
): Promise<void> {
  try {
    const asked = await readCommands(req, limits);
    const canBeTold = asked && (asked.refs.length === 0 || asked.capabilities.has('report-status'));
    if (!canBeTold) return sendRefusal(req, res, refusal);
    const reply = new GitReply(res, 'application/x-git-receive-pack-result', limits.stallMs);
    if (asked.refs.length > 0) reply.write(Buffer.from(refusalOf(asked, refusal), 'latin1'));
    reply.end();
  } catch {
    sendRefusal(req, res, refusal);
  }
}

function refusalOf({ refs, capabilities }: Asked, { message }: GitRefusal): string {
  const [reason = '', ...more] = message.split('\n');
  const refused = refs.map((ref) => packet(`ng ${ref} ${fromUtf8(safeText(reason, 300))}\n`));
  const report = packet('unpack ok\n') + refused.join('') + flushPacket;
  if (!capabilities.has('side-band-64k')) return report;
  const words = more.map((line) => fromUtf8(`${line}\n`)).join('');
  return sideband(2, words) + sideband(1, report) + flushPacket;
}

function sideband(band: 1 | 2, bytes: string): string {
  let packets = '';
  for (let at = 0; at < bytes.length; at += sidebandBytes)
    packets += packet(String.fromCharCode(band) + bytes.slice(at, at + sidebandBytes));
  return packets;
}

/** Reads the request to its end: who is still sending does not read. `undefined` for what no git sends. */
async function readCommands(req: IncomingMessage, limits: RefusedPushLimits): Promise<Asked | undefined> {
  const idle = setTimeout(() => req.destroy(), limits.bodyIdleMs);
  let text = '';
  let bytes = 0;
  try {
    for await (const chunk of gitBody(req, 'receive-pack') as AsyncIterable<Buffer>) {
      idle.refresh();
      bytes += chunk.length;
      if (bytes > limits.maxPushBytes) throw new Error('the push is too large');
      if (text.length < maxCommandBytes) text += chunk.toString('latin1');
    }
  } finally {
    clearTimeout(idle);
  }
  const commands = readSection(text, 0);
  return commands && askedFor(commands.packets);
}

/** The first command carries, after a NUL, what the client understands; a shallow client says first where it ends. */
function askedFor(packets: readonly string[]): Asked {
  const commands = packets.filter((text) => !text.startsWith('shallow '));
  const capabilities = commands[0]?.split('\0')[1]?.trim().split(' ') ?? [];
  return {
    refs: commands.map((text) => parseCommand(text.split('\0')[0] ?? '').ref),
    capabilities: new Set(capabilities.map((name) => (name === 'report-status-v2' ? 'report-status' : name))),
  };
}
