import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Screen,
  type TerminalMessage,
  type TerminalSize,
  TerminalTalk,
  type ToCommand,
  type ToPerson,
} from '../domain/terminal.ts';
import { ask, findServer, type Server } from './api-client.ts';
import { ApiError } from './exit-code.ts';

/** The server says more often that it is there, and so does the command's end. */
const silenceMs = 12_000;
/** How long to look for a lost connection. By then the command was stopped. */
const lookForMs = 90_000;
const sayWaitingAfterMs = 5000;
/** What may be typed ahead. */
const mostTypedAhead = 64 * 1024;

/** What a command gets a terminal like; `undefined`: we have none, or it is to have none. */
export function ourScreen({ tty }: { tty?: boolean }): Screen | undefined {
  if (!process.stdin.isTTY || !process.stdout.isTTY || tty === false) return undefined;
  const kind = process.env.TERM ?? '';
  return { ...terminalSize(), kind: /^[\w.+-]{1,64}$/.test(kind) ? kind : 'xterm' };
}

function terminalSize(): TerminalSize {
  const { columns, rows } = process.stdout;
  return { columns: columns || 80, rows: rows || 24 };
}

/** What the command of a task is joined with: our terminal, or our standard streams. */
export type JoinedWith = 'terminal' | 'streams';

/**
 * Makes the terminal we run in the command's, every key included, until the command is over; or only our standard streams. Looks for a
 * lost connection for a while, and nothing is lost with it. The terminal is as it was at every end.
 */
export async function joinCommand(
  path: string,
  joined: JoinedWith,
  cancel: () => Promise<void>,
  howToCancel: string,
): Promise<void> {
  const isTerminal = joined === 'terminal';
  // Once: every key is a request.
  const server = await findServer();
  const talk = new TerminalTalk<ToCommand, ToPerson>({
    deliver: async (message) => {
      await ask(server, 'POST', path, { body: message });
    },
    take: async (part) => {
      if ('output' in part) await show(process.stdout, part.output);
      else if ('errors' in part) await show(process.stderr, part.errors);
    },
  });
  const keys = (bytes: Buffer): void => {
    talk.say({ input: bytes.toString('base64') }, bytes.length);
    if (talk.backlog < mostTypedAhead) return;
    process.stdin.pause();
    void talk.room(never, mostTypedAhead / 2).then(() => process.stdin.resume());
  };
  const resized = (): void => talk.say({ resize: terminalSize() }, 1);
  let isOurs = true;
  let isStopping = false;
  const giveAway = (): void => {
    if (!isOurs) return;
    isOurs = false;
    if (isTerminal) {
      process.stdin.setRawMode(true);
      // Node leaves line ends to the terminal, which would change those of programs that draw. Undone with the raw mode.
      spawnSync('stty', ['-opost'], { stdio: 'inherit' });
    }
    process.stdin.on('data', keys);
    process.stdin.resume();
  };
  const takeBack = (): void => {
    if (isOurs) return;
    isOurs = true;
    process.stdin.off('data', keys);
    process.stdin.pause();
    if (!isTerminal) return;
    try {
      process.stdin.setRawMode(false);
    } catch {
      // It is gone.
    }
  };
  const stopForGood = (name: NodeJS.Signals): void => {
    if (isStopping) return;
    isStopping = true;
    takeBack();
    // As a line that is cut does: the command is told to end.
    const ended = cancel().catch(() =>
      console.error(`it ends by itself in a while, or at once: ${howToCancel}`),
    );
    void Promise.race([ended, sleep(2000)]).then(() => process.exit(name === 'SIGHUP' ? 129 : 143));
  };
  // A window that is closed is noticed in whatever was done with it, often before the signal.
  const closed = (): void => stopForGood('SIGHUP');
  const inputEnded = isTerminal ? closed : (): void => talk.say({ end: true }, 1);
  process.stdin.on('error', closed);
  process.stdin.on('end', inputEnded);
  process.stdout.on('error', closed);
  if (isTerminal) process.stdout.on('resize', resized);
  process.on('SIGTERM', stopForGood);
  process.on('SIGHUP', stopForGood);
  process.on('exit', takeBack);
  try {
    await follow(server, path, talk, giveAway, takeBack, howToCancel);
  } finally {
    takeBack();
    talk.close();
    process.stdin.off('error', closed).off('end', inputEnded);
    process.stdout.off('error', closed).off('resize', resized);
    process.off('SIGTERM', stopForGood);
    process.off('SIGHUP', stopForGood);
    process.off('exit', takeBack);
  }
}

const never = new AbortController().signal;

/** Hears what the command says until it is over, over as many connections as that takes. */
async function follow(
  server: Server,
  path: string,
  talk: TerminalTalk<ToCommand, ToPerson>,
  giveAway: () => void,
  takeBack: () => void,
  howToCancel: string,
): Promise<void> {
  let lostAt: number | undefined;
  const giveUp = new AbortController();
  const onInterrupt = (): void => giveUp.abort();
  const lost = (why: string): void => {
    if (lostAt !== undefined) return;
    lostAt = performance.now();
    takeBack();
    console.error(`\n${why}; waiting for it to come back, Ctrl-C to leave`);
    process.once('SIGINT', onInterrupt);
  };
  const found = (): void => {
    giveAway();
    if (lostAt === undefined) return;
    lostAt = undefined;
    process.off('SIGINT', onInterrupt);
    console.error('it is back');
  };
  const waiting = setTimeout(() => {
    if (talk.lastHeard === undefined) console.error('waiting for a worker that is free; Ctrl-C cancels');
  }, sayWaitingAfterMs);
  const watching = setInterval(() => {
    if (talk.lastHeard !== undefined && performance.now() - talk.lastHeard > silenceMs)
      lost('nothing is heard of the command any more');
    if (lostAt !== undefined && performance.now() - lostAt > lookForMs) giveUp.abort();
  }, 500);
  try {
    for (;;) {
      const isOver = await hearOnce(server, path, talk, found, giveUp.signal);
      if (isOver) return;
      if (giveUp.signal.aborted)
        throw new ApiError(
          503,
          'the connection to the command is lost; it is stopped in a while',
          howToCancel,
        );
      lost('the connection to the server is lost');
      await sleep(500);
    }
  } finally {
    clearTimeout(waiting);
    clearInterval(watching);
    process.off('SIGINT', onInterrupt);
  }
}

/** One connection. True: the command is over. False: the connection is. */
async function hearOnce(
  server: Server,
  path: string,
  talk: TerminalTalk<ToCommand, ToPerson>,
  onHeard: () => void,
  signal: AbortSignal,
): Promise<boolean> {
  const silent = new AbortController();
  const timer = setTimeout(() => silent.abort(), silenceMs);
  try {
    const response = await ask(server, 'GET', path, { signal: AbortSignal.any([signal, silent.signal]) });
    talk.hello();
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of response.body ?? []) {
      timer.refresh();
      const lines = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines.filter((text) => text !== '')) {
        const record = JSON.parse(line) as TerminalMessage<ToPerson> | { end: string };
        if ('end' in record) return true;
        onHeard();
        talk.hear(record);
      }
    }
    return false;
  } catch (error) {
    const isRefusal = error instanceof ApiError && error.status >= 400 && error.status < 500;
    if (isRefusal) throw error;
    return false;
  } finally {
    clearTimeout(timer);
  }
}

async function show(where: NodeJS.WriteStream, text: string): Promise<void> {
  await new Promise((resolve) => {
    where.write(Buffer.from(text, 'base64'), resolve);
  });
}
