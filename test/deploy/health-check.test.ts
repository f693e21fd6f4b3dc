import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { probe } from '../../src/deploy/health-check.ts';

test('a TCP service that greets is never reset by the question whether it is there', async () => {
  const errors: string[] = [];
  let greeted = 0;
  await using service = createServer((socket) => {
    greeted += 1;
    socket.on('error', ({ message }) => errors.push(message)); // without this the app would be gone
    socket.end('hello\n');
  }).listen(0, '127.0.0.1');
  await once(service, 'listening');
  const { port } = service.address() as AddressInfo;
  const check = { name: `TCP ${port}`, kind: 'tcp', port } as const;
  for (let count = 0; count < 500; count++)
    expect(await probe('127.0.0.1', check, new AbortController().signal)).toEqual({ kind: 'connected' });
  await sleep(50);
  expect(errors).toEqual([]);
  expect(greeted).toBe(500);
});

test('one that never hangs up is left after a second', async () => {
  await using service = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(service, 'listening');
  const { port } = service.address() as AddressInfo;
  const asked = once(service, 'connection');
  await probe('127.0.0.1', { name: 'TCP', kind: 'tcp', port }, new AbortController().signal);
  const [socket] = (await asked) as [Socket];
  const reset = once(socket, 'error');
  const talking = setInterval(() => socket.write('still there?'), 100);
  const began = performance.now();
  await expect(reset).resolves.toMatchObject([{ code: expect.stringMatching(/EPIPE|ECONNRESET/) }]);
  expect(performance.now() - began).toBeGreaterThan(500);
  clearInterval(talking);
});
