import { expect, it } from 'vitest';
import { FrameDecoder, OutputLines, plainText } from '../../src/docker/container-output.ts';

function frame(stream: 1 | 2, text: string): Buffer {
  const head = Buffer.alloc(8);
  head[0] = stream;
  head.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([head, Buffer.from(text)]);
}

it('takes both streams apart wherever the bytes are cut', () => {
  const bytes = Buffer.concat([frame(1, 'out ü'), frame(2, 'err\n'), frame(1, ''), frame(1, 'put\nlast')]);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const lines = new OutputLines();
    const got = [...lines.push(bytes.subarray(0, cut)), ...lines.push(bytes.subarray(cut)), ...lines.end()];
    expect(got).toEqual(['err', 'out üput', 'last']);
  }
});

it('decodes frames that come one byte at a time', () => {
  const decoder = new FrameDecoder();
  const bytes = Buffer.concat([frame(1, 'a'), frame(2, 'b')]);
  const frames = Array.from(bytes, (_, i) => decoder.push(bytes.subarray(i, i + 1))).flat();
  expect(frames.map(({ stream, bytes: text }) => [stream, String(text)])).toEqual([
    ['stdout', 'a'],
    ['stderr', 'b'],
  ]);
});

it.each([
  ['\u001b[31mred\u001b[0m', 'red'],
  ['\u001b]0;title\u0007text', 'text'],
  ['\u001b]8;;http://x\u001b\\link\u001b]8;;\u001b\\', 'link'],
  ['10%\r50%\r100%', '100%'],
  ['windows\r', 'windows'],
  ['bell\u0007 back\u0008 c1\u009b31m', 'bell back c131m'],
  ['tab\tstays grüße 🚀', 'tab\tstays grüße 🚀'],
])('reads %j as a terminal would show it', (line, text) => {
  expect(plainText(line)).toBe(text);
});
