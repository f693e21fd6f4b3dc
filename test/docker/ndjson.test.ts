import { expect, it } from 'vitest';
import { readMessages } from '../../src/docker/ndjson.ts';

async function read(...chunks: Buffer[]): Promise<Record<string, unknown>[]> {
  const messages: Record<string, unknown>[] = [];
  const source = (async function* () {
    yield* chunks;
  })();
  for await (const message of readMessages(source)) messages.push(message);
  return messages;
}

const messages = [{ stream: 'grüße 🚀\n' }, { stream: '\r\n' }, { error: 'x', errorDetail: { code: 1 } }];
const bytes = Buffer.from(`${messages.map((message) => JSON.stringify(message)).join('\r\n')}\n`);

it('reads the same messages wherever the bytes are cut', async () => {
  for (let cut = 0; cut <= bytes.length; cut++) {
    expect(await read(bytes.subarray(0, cut), bytes.subarray(cut))).toEqual(messages);
  }
  expect(await read(...Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)))).toEqual(messages);
});

it('reads a last message without a line end, and skips what is no object', async () => {
  expect(await read(Buffer.from('\n\nnot json\n17\nnull\n{"a":1}'))).toEqual([{ a: 1 }]);
});
