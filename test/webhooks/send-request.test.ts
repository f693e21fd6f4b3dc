import { expect, test } from 'vitest';
import { type SendSettings, sendRequest } from '../../src/webhooks/send-request.ts';
import { startReceiver } from '../support/receiver.ts';

const settings: SendSettings = {
  resolve: async () => ({ address: '127.0.0.1' }),
  timeoutMs: 1000,
  ca: undefined,
  userAgent: 'Gantry/test',
};

test('goes to the address that was checked, under the name it was asked for', async () => {
  await using receiver = await startReceiver();
  // No name server knows the name: had it been looked up a second time, nothing would have come.
  const url = `http://rebinds.invalid:${receiver.port}/hook?a=1`;
  expect(await sendRequest({ url, headers: {}, body: '{}' }, settings)).toMatchObject({ status: 204 });
  expect(receiver.received).toMatchObject([
    { path: '/hook?a=1', body: '{}', headers: { host: `rebinds.invalid:${receiver.port}` } },
  ]);
});

test('goes nowhere when the address is refused', async () => {
  await using receiver = await startReceiver();
  const resolve = async () => ({ problem: 'it is internal', hint: 'ask somebody' });
  const sent = { url: `${receiver.url}/`, headers: {}, body: '{}' };
  expect(await sendRequest(sent, { ...settings, resolve })).toEqual({
    problem: 'it is internal; ask somebody',
  });
  expect(receiver.received).toEqual([]);
});

test('is content with the beginning of an answer that does not end', async () => {
  await using receiver = await startReceiver();
  receiver.answerWith((_, res) => {
    res.writeHead(500, { 'retry-after': '7' });
    const pour = (): void => {
      while (res.write('x'.repeat(65_536)));
      res.once('drain', pour);
    };
    res.on('error', () => {});
    pour();
  });
  const sent = { url: receiver.url, headers: {}, body: '{}' };
  expect(await sendRequest(sent, settings)).toMatchObject({ status: 500, retryAfter: 7 });
});

test.each([
  ['that says nothing', () => {}, /no answer within 1 s/],
  [
    'that hangs up',
    (_: unknown, res: { destroy: () => void }) => res.destroy(),
    /cannot be reached: ECONNRESET/,
  ],
] as const)('says what is wrong with a receiver %s', async (_, answer, problem) => {
  await using receiver = await startReceiver();
  receiver.answerWith(answer);
  const sent = { url: receiver.url, headers: {}, body: '{}' };
  expect(await sendRequest(sent, settings)).toEqual({ problem: expect.stringMatching(problem) as string });
});
