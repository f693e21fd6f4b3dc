import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseCommitSha } from '../../src/domain/app.ts';
import { parseRemoteUrl } from '../../src/domain/remote-url.ts';
import { fetchCommit } from '../../src/git/fetch-commit.ts';
import { startForge } from '../support/forge.ts';
import { gitClient } from '../support/git.ts';
import { processesOf } from '../support/processes.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'gantry-fetch-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

type Options = { caFile?: string; maxBytes?: number; signal?: AbortSignal };

function fetchFrom(url: string, commit: string, options: Options) {
  const from = parseRemoteUrl(url);
  const sha = parseCommitSha(commit);
  if ('problem' in from || !sha) throw new Error('not a place to fetch from');
  return fetchCommit(from, sha, {
    dir: join(dir, 'fetched.git'),
    address: '127.0.0.1',
    caFile: options.caFile,
    keyFile: undefined,
    knownHostsFile: join(dir, 'known'),
    maxBytes: options.maxBytes ?? 1024 ** 2,
    signal: options.signal ?? new AbortController().signal,
  });
}

describe('fetching one commit', () => {
  test('brings its files, from the address that was checked, whatever the name stands for by then', async () => {
    await using forge = await startForge();
    const { commit } = await forge.add('lib.git', { 'a.txt': 'hello' });
    const url = `https://forge.invalid:${forge.port}/lib.git`;
    const repository = await fetchFrom(url, commit, { caFile: forge.caFile });
    const sha = parseCommitSha(commit);
    expect(sha && (await repository.listFiles(sha))).toEqual(['a.txt']);
    expect(sha && (await repository.sizeOf(sha))).toBe(5);
  });

  test('refuses what no honest git makes: a tree that would write into .git', async () => {
    await using forge = await startForge();
    const { path } = await forge.add('hostile.git', { 'a.txt': 'x' });
    const git = async (args: string[], input?: Buffer): Promise<string> => {
      const env = { GIT_DIR: path };
      const { stdout, stderr } = await gitClient().run(args, { env, ...(input && { input }) });
      if (stdout === '') throw new Error(stderr);
      return stdout.trim();
    };
    const blob = await git(['hash-object', '-w', '--stdin'], Buffer.from('[core]'));
    const entry = Buffer.concat([Buffer.from('100644 .git\0'), Buffer.from(blob, 'hex')]);
    const tree = await git(['hash-object', '-t', 'tree', '-w', '--literally', '--stdin'], entry);
    const commit = await git(['commit-tree', '-m', 'hostile', tree]);
    await gitClient().run(['update-ref', 'refs/heads/main', commit], { env: { GIT_DIR: path } });
    await expect(fetchFrom(`${forge.url}/hostile.git`, commit, { caFile: forge.caFile })).rejects.toThrow(
      /hasDotgit/,
    );
  });

  test('ends when it is more than was allowed', async () => {
    await using forge = await startForge();
    const { commit } = await forge.add('big.git', { 'big.bin': randomBytes(3 * 1024 ** 2) });
    await expect(fetchFrom(`${forge.url}/big.git`, commit, { caFile: forge.caFile })).rejects.toThrow(
      'it is larger than 1 MiB',
    );
  });

  test('ends at once when nobody wants it any more, with all of its processes', async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const address = silent.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    const abort = new AbortController();
    silent.once('connection', () => abort.abort(new Error('a newer push')));
    const began = performance.now();
    await expect(
      fetchFrom(`https://127.0.0.1:${port}/x.git`, '1'.repeat(40), { signal: abort.signal }),
    ).rejects.toThrow('a newer push');
    expect(performance.now() - began).toBeLessThan(10_000);
    await expect.poll(() => processesOf(dir)).toEqual([]);
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => silent.close(resolve));
  });
});
