/**
 * The program of a gate: a container that has the internal host name of an app in the networks of the apps that may
 * reach it, and hands their connections on. It is in an image of its own with nothing else, so it uses nothing but
 * Node. Orders come as lines on its standard input, `id {…}`, each answered with a line of the same id. The last ones
 * are kept, so that it does the same after a restart, with nobody there to tell it.
 */

import { createWriteStream } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import type { GateAnswer, GateOrders } from '../domain/gate-orders.ts';
import { TcpRelay } from './tcp-relay.ts';
import { UdpRelay } from './udp-relay.ts';

const [, , file = '/gate/state/orders.json'] = process.argv;
const tcp = new TcpRelay();
const udp = new UdpRelay();
// Not process.stdout: that waits for whoever reads, and all connections with it.
const output = createWriteStream('', { fd: 1 });
let known = '';

async function obey(text: string): Promise<GateAnswer> {
  if (text !== known) {
    const orders = JSON.parse(text) as GateOrders;
    await Promise.all([tcp.follow(orders), udp.follow(orders)]);
    await writeFile(`${file}.new`, text);
    await rename(`${file}.new`, file);
    known = text;
  }
  return { open: tcp.open(), problems: [...tcp.problems, ...udp.problems] };
}

const kept = await readFile(file, 'utf8').catch(() => undefined);
if (kept !== undefined) await obey(kept).catch(() => {});

let turn = Promise.resolve();
createInterface({ input: process.stdin }).on('line', (line) => {
  const space = line.indexOf(' ');
  turn = turn
    .then(() => obey(line.slice(space + 1)))
    .then(
      (answer) => void output.write(`${line.slice(0, space)} ${JSON.stringify(answer)}\n`),
      () => {}, // no answer is an answer, too
    );
});
