import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

const longestLine = 64 * 1024;

/**
 * Hands over the lines of a stream, those of a chunk together, and waits before reading on. Characters cut by chunk
 * borders stay whole; a line without an end is handed over in parts so that it cannot fill the memory.
 */
export async function readLines(stream: Readable, take: (lines: string[]) => Promise<void>): Promise<void> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + decoder.write(chunk as Buffer)).split('\n');
    rest = lines.pop() ?? '';
    while (rest.length > longestLine) {
      lines.push(rest.slice(0, longestLine));
      rest = rest.slice(longestLine);
    }
    if (lines.length > 0) await take(lines);
  }
  rest += decoder.end();
  if (rest !== '') await take([rest]);
}
