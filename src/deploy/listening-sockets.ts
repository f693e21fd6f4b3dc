import { readFile } from 'node:fs/promises';

/** A TCP socket that accepts connections inside a container. */
export type Listener = { address: string; port: number; loopbackOnly: boolean };

/**
 * What the processes of a container listen on, read from /proc by the host process id of its first process.
 * Empty also when this is not the container's host.
 */
export async function listeningSockets(pid: number): Promise<Listener[]> {
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/${pid}/net/${name}`, 'utf8').catch(() => '')),
  );
  return tables.flatMap(parseListeners);
}

const listening = '0A';
/** The engine's own name server inside every container of a user-defined network. */
const engineResolver = '127.0.0.11';

/** Parses /proc/net/tcp or tcp6; see proc(5). Addresses are hexadecimal words in the byte order of the machine. */
export function parseListeners(table: string): Listener[] {
  const found: Listener[] = [];
  for (const line of table.split('\n').slice(1)) {
    const [, local = '', , state] = line.trim().split(/\s+/);
    const [hexAddress = '', hexPort = ''] = local.split(':');
    if (state !== listening) continue;
    const address = hexAddress.length === 8 ? ipv4(hexAddress) : ipv6(hexAddress);
    if (address === engineResolver) continue;
    found.push({
      address,
      port: Number.parseInt(hexPort, 16),
      loopbackOnly: address.startsWith('127.') || address === '::1' || address.startsWith('::ffff:127.'),
    });
  }
  return found;
}

function ipv4(hex: string): string {
  return [...Buffer.from(hex, 'hex')].reverse().join('.');
}

function ipv6(hex: string): string {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = Buffer.concat(words.map((word) => Buffer.from(word, 'hex').reverse()));
  if (bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255) {
    return `::ffff:${[...bytes.subarray(12)].join('.')}`;
  }
  if (bytes.subarray(0, 15).every((byte) => byte === 0)) return bytes[15] === 1 ? '::1' : '::';
  return (bytes.toString('hex').match(/.{4}/g) ?? []).join(':');
}
