import type { EngineTerminal } from '../docker/engine.ts';
import { type TerminalMessage, TerminalTalk, type ToCommand, type ToPerson } from '../domain/terminal.ts';

/** The way to the person's terminal. */
export type TerminalLink = {
  say: (message: TerminalMessage<ToPerson>) => Promise<void>;
  /** Returns what ends the listening. */
  listen: (hear: (message: TerminalMessage<ToCommand>) => void) => Promise<() => void>;
  /** How long nothing may be heard of the person. */
  graceMs: number;
};

/** More parts than a person's terminal sends ahead. */
const mostWaiting = 512;
const keptForReason = 4096;

/**
 * Joins a command's terminal with a person's until the command is over and everything it printed was shown. Answers with the
 * last bytes of that, or `left` when the person was not heard of for too long. Throws the reason of the signal once it aborts.
 */
export async function serveTerminal(
  { stream, output, resize }: EngineTerminal,
  link: TerminalLink,
  isOver: () => Promise<unknown>,
  signal: AbortSignal,
): Promise<{ lastOutput: string } | 'left'> {
  const left = new AbortController();
  const stop = AbortSignal.any([signal, left.signal]);
  const talk = new TerminalTalk<ToPerson, ToCommand>({
    deliver: link.say,
    take: async (part) => {
      if ('resize' in part) await resize(part.resize).catch(() => {});
      else if ('end' in part) stream.end();
      else await write(stream, Buffer.from(part.input, 'base64'), stop);
    },
    mostWaiting,
  });
  const began = performance.now();
  const stopListening = await link.listen((message) => talk.hear(message));
  const watching = setInterval(() => {
    if (performance.now() - (talk.lastHeard ?? began) > link.graceMs) left.abort();
  }, 250);
  const cut = (): void => {
    stream.destroy();
  };
  stop.addEventListener('abort', cut);
  talk.hello();
  let last = Buffer.alloc(0);
  try {
    stop.throwIfAborted();
    for await (const { stream: from, bytes } of output) {
      const text = bytes.toString('base64');
      talk.say(from === 'stderr' ? { errors: text } : { output: text }, bytes.length);
      last = Buffer.concat([last, bytes]).subarray(-keptForReason);
      await talk.room(stop);
    }
    stop.throwIfAborted();
    // A command may close its terminal and go on.
    await Promise.race([isOver(), aborted(stop)]);
    talk.say({ closed: true }, 0);
    await talk.room(stop, 0);
    return { lastOutput: last.toString() };
  } catch (error) {
    signal.throwIfAborted();
    if (left.signal.aborted) return 'left';
    throw new Error('the connection to its terminal broke', { cause: error });
  } finally {
    clearInterval(watching);
    stop.removeEventListener('abort', cut);
    stream.destroy();
    talk.close();
    stopListening();
  }
}

export function reasonToLeave({ graceMs }: TerminalLink): { reason: string } {
  return { reason: `its terminal was not heard of for ${graceMs / 1000} s, so it was stopped` };
}

async function write(stream: EngineTerminal['stream'], bytes: Buffer, signal: AbortSignal): Promise<void> {
  if (stream.destroyed || !stream.writable || stream.write(bytes)) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      stream.off('drain', done).off('close', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    stream.on('drain', done).on('close', done);
    signal.addEventListener('abort', done);
  });
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}
