import { StringDecoder } from 'node:string_decoder';

/** The engine's newline-delimited JSON, however the chunks are cut. Lines that are not objects are left out. */
export async function* readMessages(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Record<string, unknown>> {
  const decoder = new StringDecoder('utf8');
  let partial: string[] = [];
  for await (const chunk of chunks) {
    const [first = '', ...rest] = decoder.write(Buffer.from(chunk)).split('\n');
    partial.push(first);
    for (const next of rest) {
      const message = parseObject(partial.join(''));
      partial = [next];
      if (message !== undefined) yield message;
    }
  }
  const message = parseObject(partial.join('') + decoder.end());
  if (message !== undefined) yield message;
}

function parseObject(line: string): Record<string, unknown> | undefined {
  if (line.trim() === '') return undefined;
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
