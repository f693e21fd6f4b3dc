import { expect, it } from 'vitest';
import { LineBuffer } from '../../src/docker/line-buffer.ts';

it('makes the same lines wherever the bytes are cut', () => {
  const text = Buffer.from('grüße 🚀\n\r\nwindows\r\n\0nul\0\nlast');
  const expected = ['grüße 🚀', '', 'windows', 'nul', 'last'];
  for (let cut = 0; cut <= text.length; cut++) {
    const buffer = new LineBuffer();
    expect([
      ...buffer.push(text.subarray(0, cut)),
      ...buffer.push(text.subarray(cut)),
      ...buffer.end(),
    ]).toEqual(expected);
  }
});

it('gives a line as soon as it is complete', () => {
  const buffer = new LineBuffer();
  expect(buffer.push('one\ntw')).toEqual(['one']);
  expect(buffer.push('o\n')).toEqual(['two']);
  expect(buffer.end()).toEqual([]);
});

it('cuts a line without an end visibly, and goes on with the next', () => {
  const buffer = new LineBuffer();
  const lines: string[] = [];
  for (let i = 0; i < 1000; i++) lines.push(...buffer.push('x'.repeat(1000)));
  lines.push(...buffer.push('\nnext\n'));
  expect(lines).toEqual([`${'x'.repeat(8192)} [line cut at 8 KiB]`, 'next']);
});

it('keeps the last state of a progress bar that rewrites its line for ever', () => {
  const buffer = new LineBuffer();
  const lines: string[] = [];
  for (let i = 0; i <= 5000; i++) lines.push(...buffer.push(`\r${i} of 5000`));
  lines.push(...buffer.push('\n'));
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/\r5000 of 5000$/);
  expect(lines[0]?.length).toBeLessThanOrEqual(8192);
});
