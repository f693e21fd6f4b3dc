'use strict';
// Forwards one push to the server, prints what it says, and hands its verdict to git. Decides nothing by itself,
// except that a push nobody can decide about is refused. Protocol: git's documentation of receive-pack's
// proc-receive hook. stdout belongs to that protocol; the pusher reads stderr.

const fs = require('node:fs');
const net = require('node:net');

const lines = [];
const sections = [];
let input = Buffer.alloc(0);

process.stdin.on('data', (chunk) => {
  input = Buffer.concat([input, chunk]);
  for (let packet = nextPacket(); packet !== undefined; packet = nextPacket()) {
    if (packet !== null) lines.push(packet);
    else endSection(lines.splice(0));
  }
});
// git keeps our stdin open until it has our report: an end means that it is dead and nobody wants one.
process.stdin.on('end', () => process.exit(1));
process.stdin.on('error', () => process.exit(1));

/** The text of the next pkt-line, null for a flush packet, undefined when it has not arrived yet. Bytes as latin1. */
function nextPacket() {
  if (input.length < 4) return undefined;
  const length = Number.parseInt(input.toString('latin1', 0, 4), 16);
  if (length === 0) {
    input = input.subarray(4);
    return null;
  }
  if (!(length >= 4)) process.exit(1);
  if (input.length < length) return undefined;
  const text = input.toString('latin1', 4, length);
  input = input.subarray(length);
  return text;
}

function endSection(section) {
  sections.push(section);
  const hasOptions = /\0(.* )?push-options/.test(sections[0].join(''));
  if (sections.length === 1) answer([hasOptions ? 'version=1\0push-options' : 'version=1']);
  if (sections.length === (hasOptions ? 3 : 2)) askServer(sections[1], sections[2] ?? []);
}

function askServer(commands, options) {
  const updates = commands.map((command) => {
    const [, oldSha, newSha, ref] = /^([0-9a-f]+) ([0-9a-f]+) ([^]*?)\n?$/.exec(command);
    return { oldSha, newSha, ref };
  });
  const socket = net.connect(process.env.GANTRY_HOOK_SOCKET);
  let received = '';
  socket.setEncoding('utf8');
  socket.on('connect', () => socket.write(`${JSON.stringify({ pid: process.ppid, updates, options })}\n`));
  socket.on('data', (chunk) => {
    const messages = (received + chunk).split('\n');
    received = messages.pop();
    for (const message of messages) {
      const { print, report } = JSON.parse(message);
      // Writing blocks while the pusher does not read: the server feels it and holds back.
      if (print !== undefined) writeAll(2, Buffer.from(`${print}\n`));
      if (report !== undefined) finish(report);
    }
  });
  socket.on('error', () => {});
  socket.on('close', () => finish(updates.map(({ ref }) => `ng ${ref} deploy server unavailable`)));
}

function finish(report) {
  answer(report);
  process.exit(0);
}

function answer(texts) {
  const packets = texts.map((text) => (text.length + 4).toString(16).padStart(4, '0') + text);
  writeAll(1, Buffer.from(`${packets.join('')}0000`, 'latin1'));
}

function writeAll(fd, bytes) {
  let written = 0;
  while (written < bytes.length) {
    try {
      written += fs.writeSync(fd, bytes, written);
    } catch (error) {
      if (error.code !== 'EAGAIN') process.exit(1);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}
