export type ProtobufField = { number: number; value: bigint | Uint8Array };

/** The fields of one protobuf message; nested messages stay bytes. Enough for BuildKit, so no dependency. */
export function* readFields(bytes: Uint8Array): Generator<ProtobufField> {
  let at = 0;

  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined || shift > 63n) throw new Error('protobuf: a number has no end');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const take = (length: number): Uint8Array => {
    if (at + length > bytes.length) throw new Error('protobuf: a field ends after its message');
    at += length;
    return bytes.subarray(at - length, at);
  };

  while (at < bytes.length) {
    const tag = Number(varint());
    const number = tag >> 3;
    const wireType = tag & 7;
    if (wireType === 0) yield { number, value: varint() };
    else if (wireType === 1) yield { number, value: take(8) };
    else if (wireType === 2) yield { number, value: take(Number(varint())) };
    else if (wireType === 5) yield { number, value: take(4) };
    else throw new Error(`protobuf: unknown wire type ${wireType}`);
  }
}

/** One field of bytes or text. */
export function writeField(number: number, value: Uint8Array): Uint8Array {
  const head = [(number << 3) | 2];
  let length = value.length;
  for (; length > 0x7f; length >>>= 7) head.push((length & 0x7f) | 0x80);
  return Buffer.concat([Uint8Array.of(...head, length), value]);
}
