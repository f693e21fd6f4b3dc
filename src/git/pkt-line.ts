// git's pkt-line format: four hex digits of length, their own four included, and that many bytes (gitprotocol-common).
// Texts are latin1: a character is a byte.

export const flushPacket = '0000';

export function packet(text: string): string {
  return (text.length + 4).toString(16).padStart(4, '0') + text;
}

/** The packets up to the next flush packet; `undefined` when it has not arrived. Throws on what is no packet. */
export function readSection(text: string, start: number): { packets: string[]; end: number } | undefined {
  const packets: string[] = [];
  let at = start;
  while (at + 4 <= text.length) {
    const length = Number.parseInt(text.slice(at, at + 4), 16);
    if (length === 0) return { packets, end: at + 4 };
    if (!(length >= 4)) throw new Error('these are no packets of git');
    packets.push(text.slice(at + 4, at + length));
    at += length;
  }
  return undefined;
}

export function toUtf8(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}

export function fromUtf8(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
