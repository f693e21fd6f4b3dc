export type TerminalSize = { columns: number; rows: number };

/** `kind` as in `TERM`. */
export type Screen = TerminalSize & { kind: string };

/** How a person talks with a command while it runs. */
export type TerminalWish = {
  /** Names the conversation, and nobody can guess it. */
  id: string;
  /** Id of the token it was asked for with. */
  owner: string;
  /** Absent: what is said are the bytes of its standard streams. */
  screen?: Screen;
};

/** What a person tells the command: bytes in base64, that there are no more, or the new size of the terminal. */
export type ToCommand = { input: string } | { end: true } | { resize: TerminalSize };

/** What the command tells the person: `errors` only where there is no terminal. After `closed` there is no more. */
export type ToPerson = { output: string } | { errors: string } | { closed: true };

/**
 * One message of a `TerminalTalk`. Parts are numbered from 1 by who says them; these are the ones from `first` on. `received` and
 * `handled` tell how far the parts of the other side have come.
 */
export type TerminalMessage<Part> = {
  first: number;
  parts: Part[];
  received: number;
  handled: number;
  /** Who says it has just come (back) and may have missed something. */
  hello?: boolean;
};

/** What may be said and not be handled yet before whoever says it should wait. */
const mostBacklog = 1024 ** 2;

const longestMessage = 128 * 1024;
/** Several parts in a row are confirmed together. */
const confirmAfterMs = 15;
const sayAliveEveryMs = 2000;
const repeatAfterMs = 1500;
const tryAgainAfterMs = 300;
const askAgainEveryMs = 250;

export type TalkOptions<Said, Heard> = {
  /** Hands a message on. It may be lost, doubled or overtaken by others. */
  deliver: (message: TerminalMessage<Said>) => Promise<void>;
  /** Called with one part after the other, each once, in order; the next one when this resolves. */
  take: (part: Heard) => Promise<void>;
  /** Of the other side, how many parts may wait to be taken; it has to say the rest again. */
  mostWaiting?: number;
};

/**
 * One end of a conversation between a person's terminal and a command's. What is said arrives whole and in order over ways that lose
 * messages while a part of Gantry restarts; nothing is kept on the way. Each side hears every few seconds that the other is there.
 */
export class TerminalTalk<Said, Heard> {
  readonly #options: TalkOptions<Said, Heard>;
  /** Said, not handled yet. */
  #said: { part: Said; size: number }[] = [];
  #backlog = 0;
  #saidUpTo = 0;
  #sentUpTo = 0;
  #theyReceived = 0;
  #theyHandled = 0;
  #waiting: Heard[] = [];
  #received = 0;
  #handled = 0;
  #isTaking = false;
  #hasRefused = false;
  #isSending = false;
  #owesAnswer = false;
  #isNew = false;
  #answerTimer: NodeJS.Timeout | undefined;
  readonly #ticking: NodeJS.Timeout;
  #lastSent = 0;
  #lastAsked = Number.NEGATIVE_INFINITY;
  #lastProgress = 0;
  #lastHeard: number | undefined;
  #onProgress = new Set<() => void>();
  #isClosed = false;

  constructor(options: TalkOptions<Said, Heard>) {
    this.#options = options;
    this.#ticking = setInterval(() => this.#tick(), 500);
  }

  /** Bytes said and not handled yet. */
  get backlog(): number {
    return this.#backlog;
  }

  /** When something was heard for the last time, by `performance.now()`. */
  get lastHeard(): number | undefined {
    return this.#lastHeard;
  }

  say(part: Said, size: number): void {
    if (this.#said.length === 0) this.#lastProgress = performance.now();
    this.#said.push({ part, size });
    this.#backlog += size;
    this.#saidUpTo += 1;
    this.#send();
  }

  /** Tells the other side to say again what was not received. */
  hello(): void {
    this.#isNew = true;
    this.#owesAnswer = true;
    this.#repeat();
  }

  hear({ first, parts, received, handled, hello }: TerminalMessage<Heard>): void {
    if (this.#isClosed) return;
    this.#lastHeard = performance.now();
    this.#learn(Math.min(received, this.#saidUpTo), Math.min(handled, this.#saidUpTo));
    if (first > this.#received + 1) this.#askAgain();
    const fresh = first > this.#received + 1 ? [] : parts.slice(this.#received + 1 - first);
    if (this.#waiting.length < (this.#options.mostWaiting ?? Number.POSITIVE_INFINITY)) {
      this.#waiting.push(...fresh);
      this.#received += fresh.length;
    } else if (fresh.length > 0) this.#hasRefused = true;
    if (parts.length > 0) this.#answerSoon();
    if (hello) {
      this.#owesAnswer = true;
      this.#repeat();
    }
    void this.#takeAll();
  }

  /** Resolves when there is room for more, or `limitBytes` is what is left; rejects with the signal's reason. */
  async room(signal: AbortSignal, limitBytes = mostBacklog): Promise<void> {
    while (this.#backlog > limitBytes || (limitBytes === 0 && this.#said.length > 0)) {
      signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        const done = (): void => {
          this.#onProgress.delete(done);
          signal.removeEventListener('abort', done);
          resolve();
        };
        this.#onProgress.add(done);
        signal.addEventListener('abort', done);
      });
    }
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#ticking);
    clearTimeout(this.#answerTimer);
  }

  #learn(received: number, handled: number): void {
    const news = handled - this.#theyHandled;
    if (received > this.#theyReceived || news > 0) this.#lastProgress = performance.now();
    this.#theyReceived = Math.max(this.#theyReceived, received, handled);
    this.#sentUpTo = Math.max(this.#sentUpTo, this.#theyReceived);
    if (news <= 0) return;
    this.#theyHandled = handled;
    for (const { size } of this.#said.splice(0, news)) this.#backlog -= size;
    for (const done of this.#onProgress) done();
  }

  /** Something was lost on the way. */
  #askAgain(): void {
    const now = performance.now();
    if (now - this.#lastAsked < askAgainEveryMs) return;
    this.#lastAsked = now;
    this.hello();
  }

  async #takeAll(): Promise<void> {
    if (this.#isTaking) return;
    this.#isTaking = true;
    for (let part = this.#waiting.shift(); part !== undefined; part = this.#waiting.shift()) {
      if (this.#isClosed) return;
      await this.#options.take(part);
      this.#handled += 1;
      this.#answerSoon();
    }
    this.#isTaking = false;
    if (!this.#hasRefused) return;
    this.#hasRefused = false;
    this.hello();
  }

  #answerSoon(): void {
    this.#answerTimer ??= setTimeout(() => {
      this.#answerTimer = undefined;
      this.#owesAnswer = true;
      this.#send();
    }, confirmAfterMs);
  }

  #tick(): void {
    const now = performance.now();
    if (now - this.#lastSent > sayAliveEveryMs) this.#owesAnswer = true;
    const isMissing = this.#theyReceived < this.#saidUpTo;
    if (isMissing && now - this.#lastProgress > repeatAfterMs) {
      this.#lastProgress = now;
      this.#repeat();
    } else this.#send();
  }

  #repeat(): void {
    this.#sentUpTo = this.#theyReceived;
    this.#send();
  }

  #send(): void {
    if (!this.#isSending) void this.#sendAll();
  }

  async #sendAll(): Promise<void> {
    this.#isSending = true;
    // Let what is said in this tick be one message.
    await Promise.resolve();
    while (!this.#isClosed && (this.#owesAnswer || this.#sentUpTo < this.#saidUpTo)) {
      const message = this.#next();
      const hadNews = this.#isNew;
      this.#owesAnswer = false;
      this.#isNew = false;
      this.#sentUpTo = message.first + message.parts.length - 1;
      this.#lastSent = performance.now();
      try {
        await this.#options.deliver(message);
      } catch {
        this.#sentUpTo = this.#theyReceived;
        this.#isNew ||= hadNews;
        this.#owesAnswer = true;
        await new Promise((resolve) => setTimeout(resolve, tryAgainAfterMs));
      }
    }
    this.#isSending = false;
  }

  #next(): TerminalMessage<Said> {
    const from = this.#sentUpTo - this.#theyHandled;
    const parts: Said[] = [];
    let size = 0;
    for (const next of this.#said.slice(from, from + 256)) {
      if (parts.length > 0 && size + next.size > longestMessage) break;
      parts.push(next.part);
      size += next.size;
    }
    return {
      first: this.#sentUpTo + 1,
      parts,
      received: this.#received,
      handled: this.#handled,
      ...(this.#isNew && { hello: true }),
    };
  }
}
