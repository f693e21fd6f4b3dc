import type { ChildProcess } from 'node:child_process';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import { createAction } from 'node-git-server';
import type { Logger } from '../logger.ts';
import { GitRefusal, sendRefusal } from './git-refusal.ts';
import { GitReply } from './git-reply.ts';
import type { GitService } from './git-route.ts';
import { requestDouble, responseDouble } from './package-doubles.ts';

export type ExchangeLimits = {
  /** A client that sends nothing for so long in the middle of its request is gone. */
  bodyIdleMs: number;
  /** A client that reads nothing for so long is gone. */
  stallMs: number;
  maxBodyBytes: number;
  /** How long git may take to clean up by itself after a broken upload. */
  terminateAfterMs: number;
};

export type ExchangeOptions = {
  repositoryPath: string;
  service: GitService;
  /** The client speaks git's protocol version 2. */
  isVersion2: boolean;
  req: IncomingMessage;
  res: ServerResponse;
  body: Readable;
  limits: ExchangeLimits;
  logger: Logger;
  onStart: (pid: number) => void;
  onExit: (pid: number) => void;
  /** Told how large the whole request was, unpacked. */
  onBody: (bytes: number) => void;
};

type Exit = { code: number | null; signal: NodeJS.Signals | null };

/**
 * One git-upload-pack or git-receive-pack, from the request's first byte until the process is gone: feeds it the
 * body, relays its output, and gives it the right end when the client leaves early.
 */
export class GitExchange {
  readonly #options: ExchangeOptions;
  readonly #reply: GitReply;
  readonly #request = requestDouble('POST', '/');
  readonly #response = responseDouble();
  #git: ChildProcess | undefined;
  #exit: Exit | undefined;
  #failure: GitRefusal | undefined;
  #stderr = '';
  #isBodyRead = false;
  #isInputDelivered = false;
  #isOutputRead = false;
  #onProgress: () => void = () => {};

  constructor(options: ExchangeOptions) {
    this.#options = options;
    const contentType = `application/x-git-${options.service}-result`;
    this.#reply = new GitReply(options.res, contentType, options.limits.stallMs);
  }

  /** Resolves when git is gone and the client has its answer, or is gone as well. */
  async run(): Promise<void> {
    const over = new Promise<void>((resolve) => {
      this.#onProgress = () => {
        const isBodyDone = this.#isBodyRead || this.#reply.isAbandoned;
        if (this.#exit && this.#isOutputRead && isBodyDone) resolve();
      };
    });
    this.#options.res.once('close', () => this.#onClientClosed());
    this.#startGit();
    this.#feedGit();
    await over;
    this.#answer(this.#exit);
  }

  /** For shutting down: the client is cut off and git asked to stop. */
  abort(): void {
    this.#reply.cut();
    this.#git?.kill('SIGTERM');
  }

  #startGit(): void {
    const { service, repositoryPath, isVersion2 } = this.#options;
    const place = { repo: repositoryPath, service, cwd: repositoryPath };
    const action = createAction(place, this.#request.asRequest, this.#response.asResponse);
    action.on('error', (error: Error) => this.#onStartFailed(error));
    action.once('service', (git: ChildProcess) => this.#adopt(git));

    this.#reply.relay(this.#response.stream);
    this.#response.stream.once('close', () => {
      this.#isOutputRead = true;
      this.#onProgress();
    });

    // accept() starts git in a tick of its own, between these two: only this one process sees the variable.
    if (isVersion2) process.nextTick(() => Object.assign(process.env, { GIT_PROTOCOL: 'version=2' }));
    action.accept();
    if (isVersion2) process.nextTick(() => delete process.env.GIT_PROTOCOL);
  }

  #adopt(git: ChildProcess): void {
    this.#git = git;
    // Out of file descriptors: the package would throw where nobody can catch it.
    if (!git.stdout) Object.assign(git, deadStreams());
    git.stdin?.on('error', () => {});
    git.stdin?.once('finish', () => {
      this.#isInputDelivered = true;
    });
    git.stdin?.once('close', () => this.#stopFeeding());
    git.stdout?.on('error', () => {});
    git.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString('latin1')).slice(-4096);
    });
    git.once('exit', (code, signal) => {
      if (git.pid !== undefined) this.#options.onExit(git.pid);
      this.#exit = { code, signal };
      this.#stopFeeding();
      this.#onProgress();
    });
    if (git.pid !== undefined) this.#options.onStart(git.pid);
    if (this.#reply.isAbandoned) this.#onClientClosed();
  }

  /** Once git reads no more, the rest of the body must still be read, or the client never hears why. */
  #stopFeeding(): void {
    this.#request.stream.destroy();
    this.#options.body.resume();
  }

  #onStartFailed(error: Error): void {
    this.#options.logger.error({ err: error }, 'git did not start');
    if (this.#git?.pid !== undefined) return;
    this.#failure ??= new GitRefusal(503, 'the server is busy; try again in a minute', {
      'Retry-After': '60',
    });
    this.#reply.discard();
    this.#stopFeeding();
    this.#exit ??= { code: null, signal: null };
    this.#onProgress();
  }

  #feedGit(): void {
    const { res, body, limits } = this.#options;
    const input = this.#request.stream;
    const cutOff = () => {
      body.destroy();
      res.destroy();
    };
    const idle = setTimeout(() => (body.isPaused() ? idle.refresh() : cutOff()), limits.bodyIdleMs);
    let bytes = 0;

    body.on('data', (chunk: Buffer) => {
      idle.refresh();
      // The package runs a regular expression over the first chunk: it gets one harmless byte.
      const chunks = bytes === 0 ? [chunk.subarray(0, 1), chunk.subarray(1)] : [chunk];
      bytes += chunk.length;
      if (bytes > limits.maxBodyBytes) return cutOff();
      for (const part of chunks) if (input.writable && !input.write(part)) body.pause();
    });
    input.on('drain', () => body.resume());
    body.once('end', () => {
      this.#options.onBody(bytes);
      this.#onBodyRead();
    });
    body.once('error', () => {
      this.#failure ??= new GitRefusal(400, 'the request body cannot be unpacked');
      this.#reply.discard();
      this.#onBodyRead();
    });
    body.once('end', () => clearTimeout(idle));
    res.once('close', () => {
      clearTimeout(idle);
      body.resume();
    });
  }

  #onBodyRead(): void {
    this.#isBodyRead = true;
    if (this.#request.stream.writable) this.#request.stream.end();
    this.#onProgress();
  }

  #onClientClosed(): void {
    if (!this.#reply.isAbandoned) return;
    // A fetch is for nobody now. A push, once uploaded, goes on: it may be deploying.
    if (this.#options.service === 'upload-pack') this.#git?.kill('SIGTERM');
    if (!this.#isBodyRead) this.#endBrokenUpload();
    this.#onProgress();
  }

  /** git sees an early end of its input and removes what it has received; killed, it would leave that behind. */
  #endBrokenUpload(): void {
    if (this.#request.stream.writable) this.#request.stream.end();
    const timer = setTimeout(() => {
      if (!this.#isInputDelivered) this.#git?.kill('SIGTERM');
    }, this.#options.limits.terminateAfterMs);
    timer.unref();
    this.#git?.once('exit', () => clearTimeout(timer));
  }

  #answer(exit: Exit | undefined): void {
    const { req, res, service, logger } = this.#options;
    // upload-pack explains its failures inside the protocol; receive-pack that dies leaves half a sentence.
    const isComplete =
      exit?.code === 0 || (service === 'upload-pack' && exit?.signal === null && res.headersSent);
    if (exit?.code !== 0 && !this.#reply.isAbandoned) {
      logger.warn(
        { service, exit, stderr: this.#stderr, repository: this.#options.repositoryPath },
        'git failed',
      );
    }
    if (this.#reply.isAbandoned) return;
    if (this.#failure) sendRefusal(req, res, this.#failure);
    else if (isComplete) this.#reply.end();
    else if (res.headersSent) this.#reply.cut();
    else sendRefusal(req, res, new GitRefusal(500, 'git failed on the server; its log says why'));
  }
}

function deadStreams() {
  const stdin = new PassThrough();
  stdin.resume();
  return { stdin, stdout: new PassThrough().end(), stderr: new PassThrough().end() };
}
