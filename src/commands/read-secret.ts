import { text } from 'node:stream/consumers';
import { UsageError } from './exit-code.ts';

/** A line from a terminal, which does not show it, or all of standard input. */
export async function readSecret(question: string): Promise<string> {
  if (!process.stdin.isTTY) return (await text(process.stdin)).trim();
  process.stderr.write(question);
  process.stdin.setRawMode(true);
  try {
    return await typedLine();
  } finally {
    process.stdin.setRawMode(false);
    process.stdin.pause();
    process.stderr.write('\n');
  }
}

function typedLine(): Promise<string> {
  return new Promise((resolve, reject) => {
    let line = '';
    process.stdin.setEncoding('utf8');
    process.stdin.on('data', (typed: string) => {
      for (const key of typed) {
        if (key === '\r' || key === '\n') return resolve(line.trim());
        // Ctrl-C and Ctrl-D.
        if (key === '\u0003' || key === '\u0004') return reject(new UsageError('nothing was entered'));
        if (key === '\u007f' || key === '\b') line = line.slice(0, -1);
        else if (key >= ' ') line += key;
      }
    });
    process.stdin.on('end', () => resolve(line.trim()));
  });
}
