import { expect, it } from 'vitest';
import { decodeTrace } from '../../src/docker/buildkit-trace.ts';
import { readFields } from '../../src/docker/protobuf.ts';
import { buildkitFailure } from './recorded-builds.ts';

const trace = (index: number) => decodeTrace(String(buildkitFailure[index]?.aux));

it('reads vertexes with what has become of them', () => {
  expect(trace(1).vertexes).toEqual([
    {
      digest: expect.stringMatching(/^sha256:8f750d96/),
      name: '[2/3] RUN echo a; echo err >&2; printf par; sleep 1; echo tial',
      isCached: false,
      hasStarted: false,
      hasCompleted: false,
      error: '',
    },
    expect.objectContaining({ name: '[3/3] RUN cat /nope; exit 7', hasStarted: false }),
    expect.objectContaining({
      name: '[1/3] FROM docker.io/probe/bb:1',
      hasStarted: true,
      hasCompleted: true,
    }),
  ]);
  expect(trace(8).vertexes[0]?.error).toBe(
    'executor failed running [/bin/sh -c cat /nope; exit 7]: exit code: 7',
  );
});

it('reads logs of both streams as bytes', () => {
  const logs = [...trace(3).logs, ...trace(4).logs];
  expect(logs.map(({ stream, bytes }) => [stream, Buffer.from(bytes).toString()])).toEqual([
    [1, 'a\n'],
    [1, 'par'],
    [2, 'err\n'],
  ]);
});

it('reads statuses and warnings, and skips fields it does not know', () => {
  const status = message([1, 'sha256:abc'], [2, 'v'], [4, 10n], [5, 300n], [8, 'time']);
  const warning = message([1, 'v'], [2, 1n], [3, 'Empty continuation line'], [4, 'detail']);
  const decoded = decodeTrace(
    message([2, status], [4, warning], [9, 'from the future'], [10, 7n]).toString('base64'),
  );
  expect(decoded).toEqual({
    vertexes: [],
    statuses: [{ vertex: 'v', id: 'sha256:abc', totalBytes: 300, hasCompleted: true }],
    logs: [],
    warnings: [{ vertex: 'v', text: 'Empty continuation line' }],
  });
});

it('reads numbers of every length and fixed fields', () => {
  const bytes = Buffer.from([0x08, 0xac, 0x02, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1d, 9, 9, 9, 9]);
  expect([...readFields(bytes)].map(({ number }) => number)).toEqual([1, 2, 3]);
  expect([...readFields(bytes)][0]?.value).toBe(300n);
});

it.each([
  ['a number without an end', [0x08, 0xff]],
  ['a field longer than the message', [0x0a, 0x05, 0x61]],
  ['a wire type that does not exist', [0x0f]],
])('refuses %s instead of reading on', (_, bytes) => {
  expect(() => [...readFields(Buffer.from(bytes))]).toThrow('protobuf');
});

function message(...fields: [number, string | bigint | Buffer][]): Buffer {
  return Buffer.concat(
    fields.map(([number, value]) => {
      if (typeof value === 'bigint') return Buffer.concat([varint(number << 3), varint(Number(value))]);
      const bytes = Buffer.from(value);
      return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
    }),
  );
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}
