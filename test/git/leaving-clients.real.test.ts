import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type GitResult, gitClient, resultOf, temporaryRepository } from '../support/git.ts';
import {
  acceptAll,
  descendants,
  type GitRig,
  serverProcesses,
  startGitRig,
  until,
  untilServerIsIdle,
} from './git-rig.ts';

let rig: GitRig;
let folder: string;
let app: string;
let count = 0;

beforeAll(async () => {
  rig = await startGitRig({ limits: { terminateAfterMs: 2000 } });
  folder = await mkdtemp(join(tmpdir(), 'gantry-clones-'));
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  app = `shop-${++count}`;
  rig.received.length = 0;
  rig.script.receivePush = acceptAll;
});
afterEach(() => untilServerIsIdle(rig));

/** Ends git and the helpers it started, as Ctrl-C in a terminal does. */
function interrupt(client: ChildProcess, signal: NodeJS.Signals = 'SIGINT'): void {
  const pids = [client.pid ?? 0, ...descendants(client.pid ?? 0).map(({ pid }) => pid)];
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It was quicker.
    }
  }
}

/** A ReceivePush that waits until the test lets it go. */
function held(chatter?: string) {
  const gate = { open: () => {}, isAborted: false, lines: 0 };
  const opened = new Promise<void>((resolve) => {
    gate.open = resolve;
  });
  rig.script.receivePush = async ({ updates }, print, signal) => {
    signal.addEventListener('abort', () => {
      gate.isAborted = true;
    });
    await print('-----> started');
    let isOpen = false;
    void opened.then(() => {
      isOpen = true;
    });
    while (chatter && !isOpen) {
      await print(chatter);
      gate.lines++;
    }
    await opened;
    return updates.map(({ ref }) => ({ ref, status: 'ok' as const }));
  };
  return gate;
}

/** Until a counter that runs has not moved for a while. */
async function untilHalted(counter: () => number): Promise<void> {
  let before = -1;
  await until('it has come to a halt', async () => {
    const isHalted = counter() === before;
    before = counter();
    await new Promise((resolve) => setTimeout(resolve, 200));
    return isHalted;
  });
}

describe('Ctrl-C', () => {
  it('during the upload leaves nothing behind', async () => {
    await using repo = await temporaryRepository({ big: randomBytes(30_000_000) });
    const socket = connect(rig.port, '127.0.0.1');
    socket.on('error', () => {});
    const pack = await repo.gitBytes(['pack-objects', '--all', '--stdout', '-q']);
    const sha = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
    await rig.request(`/${app}.git/info/refs?service=git-receive-pack`);
    const command = `${'0'.repeat(40)} ${sha} refs/heads/main\0report-status`;
    socket.write(
      `POST /${app}.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-git-receive-pack-request\r\n` +
        `Authorization: Basic ${Buffer.from('root:right').toString('base64')}\r\nContent-Length: 40000000\r\n\r\n` +
        `${(command.length + 4).toString(16).padStart(4, '0')}${command}0000`,
    );
    socket.write(pack.subarray(0, 20_000_000));
    await until('the upload is in quarantine', async () => (await rig.quarantines(app)).length > 0);
    socket.destroy();
    await untilServerIsIdle(rig);
    expect(await rig.quarantines(app)).toEqual([]);
    expect(rig.received).toEqual([]);
  });

  it('of the real client during its upload is survived', async () => {
    await using repo = await temporaryRepository({ big: randomBytes(40_000_000) });
    const client = repo.startPush(rig.url(app));
    await until('the upload runs', () => serverProcesses().some((command) => command.includes('index-pack')));
    interrupt(client);
    await resultOf(client);
    await untilServerIsIdle(rig);
    expect(await rig.quarantines(app)).toEqual([]);
    expect(await repo.push(rig.url(app))).toMatchObject({ code: 0 });
  });

  it.each([
    ['a silent', undefined],
    ['a chatty', 'a line of output'],
  ])(
    'during %s build: the push is no longer watched, goes on and moves the branch',
    async (_kind, chatter) => {
      const gate = held(chatter);
      await using repo = await temporaryRepository({ a: '1' });
      const client = repo.startPush(rig.url(app));
      await until('the build runs', () => rig.received[0]);
      expect(rig.received[0]?.isWatched()).toBe(true);
      await new Promise((resolve) => client.stderr?.once('data', resolve));
      interrupt(client);
      await until('it is not watched', () => rig.received[0]?.isWatched() === false);
      const linesThen = gate.lines;
      if (chatter) await until('the build still prints', () => gate.lines > linesThen + 1000);
      expect(gate.isAborted).toBe(false);
      gate.open();
      const sha = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
      await until(
        'the branch moves',
        async () => (await rig.repository(app).readRef('refs/heads/main')) === sha,
      );
    },
  );

  it('of a clone ends git', async () => {
    await using repo = await temporaryRepository({ big: randomBytes(40_000_000) });
    await repo.push(rig.url(app));
    const client = gitClient().start(['clone', '--bare', rig.url(app), join(folder, app)]);
    await until('the clone runs', () => serverProcesses().some((command) => command.includes('upload-pack')));
    interrupt(client, 'SIGKILL');
    expect(await resultOf(client)).toMatchObject({ signal: 'SIGKILL' });
  });
});

describe('a client that stops reading', () => {
  it('holds back the build log, not the server, and gets everything once it goes on', async () => {
    const gate = held('x'.repeat(1000));
    await using repo = await temporaryRepository({ a: '1' });
    const client = repo.startPush(rig.url(app));
    const result = resultOf(client);
    await until('the build runs', () => gate.lines > 10);
    interrupt(client, 'SIGSTOP');
    const memory = process.memoryUsage().rss;
    await untilHalted(() => gate.lines);
    expect(process.memoryUsage().rss - memory).toBeLessThan(120_000_000);
    gate.open();
    interrupt(client, 'SIGCONT');
    const { code, stderr } = await result;
    expect(code).toBe(0);
    expect(stderr.match(/^remote: x{1000}\s*$/gm)).toHaveLength(gate.lines);
  });

  it('for too long counts as gone', async () => {
    await using strict = await startGitRig({ limits: { stallMs: 500 } });
    let isDone = false;
    strict.script.receivePush = async ({ updates, isWatched }, print) => {
      while (isWatched()) await print('x'.repeat(1000));
      isDone = true;
      return updates.map(({ ref }) => ({ ref, status: 'ok' as const }));
    };
    await using repo = await temporaryRepository({ a: '1' });
    const client = repo.startPush(strict.url(app));
    const result = resultOf(client);
    await until('the build runs', () => strict.received[0]);
    interrupt(client, 'SIGSTOP');
    await until('the push is finished without its client', () => isDone);
    await until('the branch moved', () => strict.repository(app).readRef('refs/heads/main'));
    interrupt(client, 'SIGKILL');
    expect(await result).toMatchObject({ signal: 'SIGKILL' });
    await untilServerIsIdle(strict);
  });
});

describe('when something on our side dies', () => {
  async function pushUntilRunning(chatter?: string) {
    const gate = held(chatter);
    const repo = await temporaryRepository({ a: '1' });
    const client = repo.startPush(rig.url(app));
    const result: Promise<GitResult> = resultOf(client);
    await until('the build runs', () => rig.received[0]);
    return { gate, result, [Symbol.asyncDispose]: repo[Symbol.asyncDispose] };
  }

  function pidOf(text: string): number {
    return descendants(process.pid).find(({ command }) => command.includes(text))?.pid ?? 0;
  }

  it.each([
    ['in a silent build', undefined],
    ['in the middle of the log', 'a line of output'],
  ])(
    'git-receive-pack, %s: the client ends within seconds and the push is told to abort',
    async (_when, chatter) => {
      await using push = await pushUntilRunning(chatter);
      const start = performance.now();
      process.kill(pidOf('receive-pack --stateless-rpc'), 'SIGTERM');
      expect((await push.result).code).not.toBe(0);
      expect(performance.now() - start).toBeLessThan(5000);
      await until('the push knows', () => push.gate.isAborted);
    },
  );

  it('the hook: the push is refused', async () => {
    await using push = await pushUntilRunning();
    process.kill(pidOf('hooks/proc-receive'), 'SIGKILL');
    const { code, stderr } = await push.result;
    expect(code).toBe(1);
    expect(stderr).toContain('[remote rejected]');
    await until('the push knows', () => push.gate.isAborted);
  });

  it('nobody answers the hook: the push is refused in our words', async () => {
    await using strict = await startGitRig();
    await strict.hookSocket.close();
    await using repo = await temporaryRepository({ a: '1' });
    const { code, stderr } = await repo.push(strict.url(app));
    expect(code).toBe(1);
    expect(stderr).toContain('! [remote rejected] main -> main (deploy server unavailable)');
    await untilServerIsIdle(strict);
  });

  it('the server stops: the pusher gets a sentence, git and the hook end', async () => {
    const strict = await startGitRig();
    strict.script.receivePush = (_push, _print, signal) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
    await using repo = await temporaryRepository({ a: '1' });
    const result = repo.push(strict.url(app));
    await until('the build runs', () => strict.received[0]);
    await strict.hookSocket.close();
    expect((await result).stderr).toContain('! [remote rejected] main -> main (deploy server is restarting)');
    await strict.endpoint.close(1000);
    await strict[Symbol.asyncDispose]();
    expect(serverProcesses()).toEqual([]);
  });

  it('the server stops although a pusher has stopped reading', async () => {
    const strict = await startGitRig();
    let lines = 0;
    strict.script.receivePush = async ({ updates }, print) => {
      for (;;) {
        await print('x'.repeat(1000));
        if (++lines < 0) return updates.map(({ ref }) => ({ ref, status: 'ok' as const }));
      }
    };
    await using repo = await temporaryRepository({ a: '1' });
    const client = repo.startPush(strict.url(app));
    await until('the build runs', () => lines > 10);
    interrupt(client, 'SIGSTOP');
    await untilHalted(() => lines);
    const start = performance.now();
    await strict.hookSocket.close(500);
    await strict.endpoint.close(500);
    expect(performance.now() - start).toBeLessThan(5000);
    interrupt(client, 'SIGKILL');
    await resultOf(client);
    await strict[Symbol.asyncDispose]();
    await until('all of git is gone', () => serverProcesses().length === 0);
  });

  it('a stranger on the socket decides nothing', async () => {
    const socket = connect(rig.hookSocketPath);
    const sha = '1'.repeat(40);
    socket.write(`${process.pid}\n0063${sha} ${sha} refs/heads/x\n00000000`);
    const answer = await new Promise<string>((resolve) =>
      socket.once('data', (chunk) => resolve(chunk.toString())),
    );
    expect(answer).toContain('ng refs/heads/x internal error');
    const noise = connect(rig.hookSocketPath);
    noise.write('GET / HTTP/1.1\r\n\r\n');
    await new Promise((resolve) => noise.once('close', resolve));
    expect(rig.received).toEqual([]);
  });
});
