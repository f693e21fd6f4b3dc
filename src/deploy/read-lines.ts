import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

const longestLine = 64 * 1024;

/**
 * Calls `take` for each line of a stream, in order, and waits for it before reading on. Characters cut by chunk borders
 * stay whole; a line without an end is handed over in parts so that it cannot fill the memory.
 */
export async function readLines(stream: Readable, take: (line: string) => Promise<void>): Promise<void> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + decoder.write(chunk as Buffer)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) await take(line);
    while (rest.length > longestLine) {
      await take(rest.slice(0, longestLine));
      rest = rest.slice(longestLine);
    }
  }
  rest += decoder.end();
  if (rest !== '') await take(rest);
}
