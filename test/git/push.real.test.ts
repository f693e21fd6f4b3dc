import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { gitClient, temporaryRepository } from '../support/git.ts';
import { acceptAll, type GitRig, startGitRig, untilServerIsIdle } from './git-rig.ts';

let rig: GitRig;
beforeEach(async () => {
  rig = await startGitRig();
});
afterEach(async () => {
  await untilServerIsIdle(rig);
  await rig[Symbol.asyncDispose]();
});

async function newFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'gantry-clone-'));
}

describe('a push', () => {
  it('creates the app, shows the log live and moves the branch', async () => {
    await using repo = await temporaryRepository({ Dockerfile: 'FROM scratch\n' });
    const result = await repo.push(rig.url());
    expect(result).toMatchObject({ code: 0 });
    expect(result.stderr).toMatch(/^remote: -----> deployed\s*$/m);
    expect(result.stderr).toMatch(/\* \[new branch\] +main -> main/);
    const sha = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
    expect(await rig.repository().readRef('refs/heads/main')).toBe(sha);
    expect(rig.received).toMatchObject([
      {
        app: 'shop',
        account: { name: 'root' },
        options: [],
        updates: [{ ref: 'refs/heads/main', newSha: sha }],
      },
    ]);
  });

  it('comes back with a clone and with a fetch', async () => {
    await using repo = await temporaryRepository({ Dockerfile: 'FROM scratch\n' });
    await repo.push(rig.url());
    const folder = await newFolder();
    expect(await gitClient().run(['clone', rig.url(), folder])).toMatchObject({ code: 0 });
    expect(await readFile(join(folder, 'Dockerfile'), 'utf8')).toBe('FROM scratch\n');
    const sha = await repo.commit({ Dockerfile: 'FROM busybox\n' });
    await repo.push(rig.url());
    expect(await gitClient().run(['pull'], { cwd: folder })).toMatchObject({ code: 0 });
    expect((await gitClient().run(['rev-parse', 'HEAD'], { cwd: folder })).stdout.trim()).toBe(sha);
  });

  it('that is refused says why, exits with 1 and leaves the branch', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    rig.script.receivePush = async ({ updates }) =>
      updates.map(({ ref }) => ({
        ref,
        status: 'refused' as const,
        reason: 'deploy #1 failed: build exited 1',
      }));
    const result = await repo.push(rig.url());
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('! [remote rejected] main -> main (deploy #1 failed: build exited 1)');
    expect(await rig.repository().readRef('refs/heads/main')).toBeUndefined();

    rig.script.receivePush = acceptAll;
    expect(await repo.push(rig.url())).toMatchObject({ code: 0 });
  });
});
