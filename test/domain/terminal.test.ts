import { describe, expect, test } from 'vitest';
import { type TerminalMessage, TerminalTalk } from '../../src/domain/terminal.ts';

type Way = (message: TerminalMessage<string>, arrive: () => void) => void | Promise<void>;

/** Two ends and the ways between them. */
function pair(there: Way, back: Way = (_, arrive) => arrive()) {
  const heard: string[] = [];
  const speaker: TerminalTalk<string, string> = new TerminalTalk<string, string>({
    deliver: async (message) => there(message, () => listener.hear(structuredClone(message))),
    take: async () => {},
  });
  const listener: TerminalTalk<string, string> = new TerminalTalk<string, string>({
    deliver: async (message) => back(message, () => speaker.hear(structuredClone(message))),
    take: async (part) => {
      heard.push(part);
    },
  });
  return {
    heard,
    speaker,
    listener,
    [Symbol.dispose]: () => {
      speaker.close();
      listener.close();
    },
  };
}

const never = new AbortController().signal;
const numbers = Array.from({ length: 2000 }, (_, index) => String(index));

describe('what is said in a terminal', () => {
  test('arrives in order, in few messages', async () => {
    let messages = 0;
    using talk = pair((_, arrive) => {
      messages += 1;
      arrive();
    });
    for (const part of numbers) talk.speaker.say(part, 1);
    await talk.speaker.room(never, 0);
    expect(talk.heard).toEqual(numbers);
    expect(messages).toBeLessThan(20);
  });

  test('arrives whole when messages are lost, doubled, late and refused', async () => {
    let count = 0;
    using talk = pair((_, arrive) => {
      count += 1;
      if (count % 7 === 0) throw new Error('refused');
      if (count % 5 === 0) return;
      if (count % 3 === 0) setTimeout(arrive, 20);
      arrive();
    });
    for (const part of numbers.slice(0, 600)) talk.speaker.say(part, 10_000);
    await talk.speaker.room(never, 0);
    expect(talk.heard).toEqual(numbers.slice(0, 600));
    expect(count).toBeGreaterThan(20);
  }, 60_000);

  test('is said again at once to one that has come back', async () => {
    let isAway = true;
    using talk = pair((_, arrive) => {
      if (!isAway) arrive();
    });
    talk.speaker.say('one', 1);
    await new Promise(setImmediate);
    isAway = false;
    const began = performance.now();
    talk.listener.hello();
    await talk.speaker.room(never, 0);
    expect(talk.heard).toEqual(['one']);
    expect(performance.now() - began).toBeLessThan(300);
  });

  test('waits for a slow reader, whose memory stays small', async () => {
    const taken: string[] = [];
    let free = (): void => {};
    const gate = new Promise<void>((resolve) => {
      free = resolve;
    });
    let waiting = 0;
    const speaker: TerminalTalk<string, string> = new TerminalTalk<string, string>({
      deliver: async (message) => listener.hear(message),
      take: async () => {},
    });
    const listener: TerminalTalk<string, string> = new TerminalTalk<string, string>({
      deliver: async (message) => {
        waiting = message.received - message.handled;
        speaker.hear(message);
      },
      take: async (part) => {
        await gate;
        taken.push(part);
      },
      mostWaiting: 300,
    });
    for (const part of numbers) speaker.say(part, 1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(waiting).toBeLessThanOrEqual(300 + 256);
    expect(speaker.backlog).toBe(2000);
    free();
    await speaker.room(never, 0);
    expect(taken).toEqual(numbers);
    speaker.close();
    listener.close();
  });
});
