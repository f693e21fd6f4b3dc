import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { gitClient, temporaryRepository } from '../support/git.ts';
import { acceptAll, startGitRig, until, untilServerIsIdle } from './git-rig.ts';

type ServerState = { peak: number; rss: number; processes: number; received: number };

let child: ChildProcess | undefined;
afterEach(async () => {
  if (child?.exitCode === null) {
    child.disconnect();
    await once(child, 'exit');
  }
  child = undefined;
});

async function startServerProcess() {
  const server = fork(new URL('./git-server-child.ts', import.meta.url), { execArgv: ['--import', 'tsx'] });
  child = server;
  const [{ port }] = (await once(server, 'message')) as [{ port: number }];
  return {
    pid: server.pid ?? 0,
    port,
    url: (name: string) => `http://root:right@127.0.0.1:${port}/${name}.git`,
    state: async (): Promise<ServerState> => {
      server.send('state');
      return ((await once(server, 'message')) as [ServerState])[0];
    },
  };
}

describe('limits', () => {
  it('a push and a clone of 300 MB need no memory', { timeout: 150_000 }, async () => {
    const server = await startServerProcess();
    await using repo = await temporaryRepository({ big: randomBytes(300_000_000) });
    const before = await server.state();
    expect(await repo.push(server.url('big'))).toMatchObject({ code: 0 });
    const pushed = await server.state();
    expect(pushed.peak - before.rss).toBeLessThan(120_000_000);

    const folder = await mkdtemp(join(tmpdir(), 'gantry-clones-'));
    expect(await gitClient().run(['clone', '--bare', server.url('big'), join(folder, 'big')])).toMatchObject({
      code: 0,
    });
    await rm(folder, { recursive: true });
    expect((await server.state()).peak - before.rss).toBeLessThan(120_000_000);
  });

  it('no file descriptors left: some are turned away, the server lives and recovers', async () => {
    const server = await startServerProcess();
    await using repo = await temporaryRepository({ a: '1' });
    await repo.push(server.url('first'));
    const open = readdirSync(`/proc/${server.pid}/fd`).length;
    execFileSync('prlimit', ['--pid', `${server.pid}`, `--nofile=${open + 20}:${open + 20}`]);
    // So few are left that not even one git can be started.
    const idle = Array.from({ length: 17 }, () => connect(server.port, '127.0.0.1').on('error', () => {}));
    const openNow = () => readdirSync(`/proc/${server.pid}/fd`).length;
    await until('it has accepted them', () => openNow() === open + idle.length);

    const results = await Promise.all(
      Array.from({ length: 20 }, (_, index) => repo.push(server.url(`app-${index}`))),
    );
    expect(results.filter((result) => result.code !== 0).length).toBeGreaterThan(0);
    for (const socket of idle) socket.destroy();
    await until('its processes are gone', async () => (await server.state()).processes === 0);
    await until('its descriptors are closed', () => openNow() <= open);
    expect(await repo.push(server.url('last'))).toMatchObject({ code: 0 });
    expect(await gitClient().run(['ls-remote', server.url('first')])).toMatchObject({ code: 0 });
  });

  it('a push that is too large is told so by git, and leaves nothing', async () => {
    await using rig = await startGitRig({ maxPushBytes: 1_000_000, limits: { maxPushBytes: 1_000_000 } });
    await using repo = await temporaryRepository({ big: randomBytes(1_800_000) });
    const result = await repo.push(rig.url());
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('pack exceeds maximum allowed size');
    await untilServerIsIdle(rig);
    expect(await rig.quarantines()).toEqual([]);
    expect(rig.received).toEqual([]);
  });

  it('a gzip bomb is cut off', async () => {
    await using rig = await startGitRig({ limits: { maxFetchRequestBytes: 100_000 } });
    await using repo = await temporaryRepository({ a: '1' });
    await repo.push(rig.url());
    const bomb = rig.request('/shop.git/git-upload-pack', {
      headers: { 'Content-Type': 'application/x-git-upload-pack-request', 'Content-Encoding': 'gzip' },
      body: gzipSync(Buffer.alloc(50_000_000, '0')),
    });
    await expect(bomb.then((answer) => answer.text())).rejects.toThrow(/terminated|fetch failed/);
    await untilServerIsIdle(rig);
  });

  it('transfers wait for each other, too many are turned away with a sentence, deployments do not count', async () => {
    await using rig = await startGitRig({ limits: { transfers: 1, waitingTransfers: 2 } });
    let isOpen = false;
    rig.script.receivePush = async (push, print) => {
      await until('the test lets it go', () => isOpen);
      return acceptAll(push, print);
    };
    await using repo = await temporaryRepository({ a: '1' });
    const deploying = [repo.push(rig.url('a')), repo.push(rig.url('b'))];
    await until('both are being deployed at the same time', () => rig.received.length === 2);

    const answers = await Promise.all(
      Array.from({ length: 20 }, () => rig.request('/a.git/info/refs?service=git-receive-pack')),
    );
    const busy = answers.filter((answer) => answer.status === 503);
    expect(busy.length).toBeGreaterThan(0);
    expect(busy.length).toBeLessThan(20);
    expect(await busy[0]?.text()).toBe('the server is busy; try again in a minute\n');
    isOpen = true;
    expect((await Promise.all(deploying)).map((result) => result.code)).toEqual([0, 0]);
    await untilServerIsIdle(rig);
  });

  it('300 requests at once are all answered', async () => {
    await using rig = await startGitRig();
    await using repo = await temporaryRepository({ a: '1' });
    await repo.push(rig.url());
    const answers = await Promise.all(
      Array.from({ length: 300 }, () => rig.request('/shop.git/info/refs?service=git-upload-pack')),
    );
    for (const answer of answers) expect([200, 503]).toContain(answer.status);
    await Promise.all(answers.map((answer) => answer.text()));
    await untilServerIsIdle(rig);
  });
});
