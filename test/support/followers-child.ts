import { get } from 'node:http';

// Follows a log over many connections, each of its own; a process can have so many open files, and an address so many ports.

export type FollowersOrder = {
  port: number;
  path: string;
  token: string;
  count: number;
  /** Of its own end. */
  address: string;
  /** They stop reading at the first line. */
  isLazy: boolean;
};

/** How far they are: `ends` and `lines` of those that have the end, each once. */
export type FollowersNews = { reading: number; over: number; ends: string[]; lines: number[] };

const atOnce = 100;

const { port, path, token, count, address, isLazy } = JSON.parse(process.argv[2] ?? '') as FollowersOrder;
const news = { reading: 0, over: 0 };
const ends = new Set<string>();
const lines = new Set<number>();

function follow(): Promise<void> {
  return new Promise((begun) => {
    let seen = 0;
    let tail = '';
    const over = (end: string): void => {
      news.over += 1;
      ends.add(end);
      lines.add(seen);
      begun();
    };
    const headers = { authorization: `Bearer ${token}` };
    const request = get({ host: '127.0.0.1', port, path, headers, localAddress: address, agent: false });
    request.on('error', (error) => over(error.message));
    request.on('response', (answer) => {
      if (answer.statusCode !== 200) over(`refused with ${answer.statusCode}`);
      answer.on('error', () => {});
      answer.on('data', (chunk: Buffer) => {
        if (seen === 0) {
          news.reading += 1;
          begun();
        }
        seen += linesIn(chunk, tail.endsWith('\n') || tail === '');
        tail = (tail + chunk.subarray(-100).toString('latin1')).slice(-100);
        if (isLazy) answer.pause();
      });
      answer.on('end', () => over(/"end":"(\w+)"/.exec(tail)?.[1] ?? 'cut off'));
    });
  });
}

/** An empty line only says that the connection is there. */
function linesIn(chunk: Buffer, isFresh: boolean): number {
  let found = 0;
  let before = isFresh ? -1 : -2;
  for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) {
    if (at > before + 1) found += 1;
    before = at;
  }
  return found;
}

const tell = (): void => {
  process.send?.({ ...news, ends: [...ends], lines: [...lines] } satisfies FollowersNews);
};
setInterval(tell, 100);
process.on('disconnect', () => process.exit());
for (let left = count; left > 0; left -= atOnce)
  await Promise.all(Array.from({ length: Math.min(left, atOnce) }, follow));
