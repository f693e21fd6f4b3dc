import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CommitSha } from '../../src/domain/app.ts';
import { renderLogLine } from '../../src/domain/log-line.ts';
import { UserError } from '../../src/errors.ts';
import type { Push } from '../../src/git/push.ts';
import { decidePush } from '../../src/git/pushed-refs.ts';
import { type GitResult, gitClient, temporaryRepository } from '../support/git.ts';
import { acceptAll, type GitRig, serverProcesses, startGitRig, until, untilServerIsIdle } from './git-rig.ts';

let rig: GitRig;
let folder: string;
let app: string;
let count = 0;

beforeAll(async () => {
  rig = await startGitRig();
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
  rig.script.ensureReady = async () => {};
  rig.script.authenticated = () => {};
});
afterEach(() => untilServerIsIdle(rig));

/** Refuses some refs and lets the rest through. */
function refuseOnly(...refs: string[]) {
  return async ({ updates }: Push) =>
    updates.map(({ ref }) =>
      refs.includes(ref)
        ? { ref, status: 'refused' as const, reason: 'not today' }
        : { ref, status: 'ok' as const },
    );
}

/** What the product does with refs, without deploying anything. */
async function decideAsUsual({ updates, options }: Push, print: (line: string) => Promise<void>) {
  const { refs } = decidePush(updates, options, { branch: 'main' });
  for (const decision of refs) {
    if (decision.kind === 'refuse') for (const line of decision.lines) await print(renderLogLine(line));
  }
  return refs.map((decision) =>
    decision.kind === 'refuse'
      ? { ref: decision.ref, status: 'refused' as const, reason: decision.reason }
      : { ref: decision.ref, status: 'ok' as const },
  );
}

async function refsOnServer(): Promise<string[]> {
  const { stdout } = await gitClient().run(['ls-remote', rig.url(app)]);
  return stdout.split('\n').flatMap((line) => (line === '' ? [] : [line.split('\t')[1] ?? '']));
}

describe('a push', () => {
  it('creates the app, shows the log live and moves the branch', async () => {
    await using repo = await temporaryRepository({ Dockerfile: 'FROM scratch\n' });
    const result = await repo.push(rig.url(app));
    expect(result).toMatchObject({ code: 0 });
    expect(result.stderr).toMatch(/^remote: -----> deployed\s*$/m);
    expect(result.stderr).toMatch(/\* \[new branch\] +main -> main/);
    const sha = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
    expect(await rig.repository(app).readRef('refs/heads/main')).toBe(sha);
    expect(rig.received).toMatchObject([
      { app, account: { name: 'root' }, options: [], updates: [{ ref: 'refs/heads/main', newSha: sha }] },
    ]);
  });

  it('comes back with a clone and with a fetch', async () => {
    await using repo = await temporaryRepository({ Dockerfile: 'FROM scratch\n' });
    await repo.push(rig.url(app));
    const clone = join(folder, app);
    expect(await gitClient().run(['clone', rig.url(app), clone])).toMatchObject({ code: 0 });
    expect(await readFile(join(clone, 'Dockerfile'), 'utf8')).toBe('FROM scratch\n');
    const sha = await repo.commit({ Dockerfile: 'FROM busybox\n' });
    await repo.push(rig.url(app));
    expect(await gitClient().run(['pull'], { cwd: clone })).toMatchObject({ code: 0 });
    expect((await gitClient().run(['rev-parse', 'HEAD'], { cwd: clone })).stdout.trim()).toBe(sha);
  });

  it('may leave out ".git", and clones in every version of the protocol', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    expect(await repo.push(rig.url(app).replace(/\.git$/, '/'))).toMatchObject({ code: 0 });
    for (const version of ['0', '1', '2']) {
      const trace = await gitClient().run(
        [
          '-c',
          `protocol.version=${version}`,
          'clone',
          '--bare',
          rig.url(app),
          join(folder, `${app}-v${version}`),
        ],
        { env: { GIT_TRACE_PACKET: '1' } },
      );
      expect(trace).toMatchObject({ code: 0 });
      expect(trace.stderr.includes('< version 2')).toBe(version === '2');
    }
  });

  it('that is refused says why, exits with 1, leaves the branch, and can be repeated', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    rig.script.receivePush = refuseOnly('refs/heads/main');
    const result = await repo.push(rig.url(app));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('! [remote rejected] main -> main (not today)');
    expect(await rig.repository(app).readRef('refs/heads/main')).toBeUndefined();
    rig.script.receivePush = acceptAll;
    expect(await repo.push(rig.url(app))).toMatchObject({ code: 0 });
  });

  it('of several refs reports each one', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    rig.script.receivePush = refuseOnly('refs/heads/x');
    await repo.git('tag', 'v1');
    const result = await repo.push(rig.url(app), ['main', 'main:x', 'v1']);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('! [remote rejected] main -> x (not today)');
    expect(await refsOnServer()).toEqual(['HEAD', 'refs/heads/main', 'refs/tags/v1']);
    expect(rig.received).toHaveLength(1);
  });

  it('with --atomic moves all or nothing', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    rig.script.receivePush = refuseOnly('refs/heads/x');
    const result = await repo.push(rig.url(app), ['main', 'main:x'], { args: ['--atomic'] });
    expect(result.code).toBe(1);
    expect(await refsOnServer()).toEqual([]);
    rig.script.receivePush = acceptAll;
    expect(await repo.push(rig.url(app), ['main', 'main:x'], { args: ['--atomic'] })).toMatchObject({
      code: 0,
    });
    expect(await refsOnServer()).toEqual(['HEAD', 'refs/heads/main', 'refs/heads/x']);
  });

  it('can be forced, and deletes tags', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    await repo.git('tag', 'v1');
    await repo.push(rig.url(app), ['main', 'v1']);
    await repo.git('commit', '--amend', '--message', 'other');
    expect(await repo.push(rig.url(app), '+main')).toMatchObject({ code: 0 });
    expect(await repo.push(rig.url(app), ':v1')).toMatchObject({ code: 0 });
    expect(await refsOnServer()).toEqual(['HEAD', 'refs/heads/main']);
  });

  it('cannot delete the deployed branch', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    await repo.push(rig.url(app));
    rig.script.receivePush = decideAsUsual;
    const result = await repo.push(rig.url(app), ':main');
    expect(result.stderr).toContain('! [remote rejected] main (branches cannot be deleted)');
    expect(await refsOnServer()).toContain('refs/heads/main');
  });

  it('hands its options over, and unknown ones refuse it', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    rig.script.receivePush = decideAsUsual;
    await repo.push(rig.url(app), 'main', { args: ['-o', 'detach', '-o', 'no-cache'] });
    expect(rig.received[0]?.options).toEqual(['detach', 'no-cache']);

    await repo.commit({ a: '2' });
    const refused = await repo.push(rig.url(app), 'main', { args: ['-o', 'größer=$(id)'] });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(
      'remote: error: unknown push option "größer=$(id)"; known are detach and no-cache',
    );
    expect(refused.stderr).toContain('! [remote rejected] main -> main (unknown push option)');
  });

  it('to another branch is told what to type', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    rig.script.receivePush = decideAsUsual;
    const result = await repo.push(rig.url(app), 'main:feature/x');
    expect(result.stderr).toContain('remote: error: only "main" deploys; you pushed "feature/x"');
    expect(result.stderr).toContain('remote: hint: git push clever feature/x:main');
    expect(result.stderr).toContain('! [remote rejected] main -> feature/x (not the deploy branch)');
  });

  it('to branches with hostile names is refused like any other', async () => {
    const names = [
      '-x',
      '--upload-pack=touch',
      '$(id)',
      '`id`',
      'a;b',
      "a'b",
      'a|b',
      'HEAD',
      'refs/heads/main',
      'a\u202eb',
    ];
    await using repo = await temporaryRepository({ a: '1' });
    rig.script.receivePush = decideAsUsual;
    const result = await repo.push(
      rig.url(app),
      names.map((name) => `main:refs/heads/${name}`),
    );
    expect(result.code).toBe(1);
    expect(result.stderr.match(/\(not the deploy branch\)/g)).toHaveLength(names.length);
    expect(result.stderr).toContain('remote: error: only "main" deploys; you pushed "a\\u202eb"');
    expect(
      rig.received[0]?.updates.map((update) => update.ref.slice('refs/heads/'.length)).toSorted(),
    ).toEqual(names.toSorted());
    expect(await refsOnServer()).toEqual([]);
  });

  it('with bytes in a name that are no text is refused', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    const sha = (await repo.git('rev-parse', 'HEAD')).stdout.trim();
    const command = Buffer.concat([
      Buffer.from(`${'0'.repeat(40)} ${sha} refs/heads/`),
      Buffer.from([0xff, 0xfe]),
      Buffer.from('\0report-status'),
    ]);
    const pack = await repo.gitBytes(['pack-objects', '--all', '--stdout', '-q']);
    await rig.request(`/${app}.git/info/refs?service=git-receive-pack`);
    const answer = await rig.request(`/${app}.git/git-receive-pack`, {
      headers: { 'Content-Type': 'application/x-git-receive-pack-request' },
      body: Buffer.concat([
        Buffer.from((command.length + 4).toString(16).padStart(4, '0')),
        command,
        Buffer.from('0000'),
        pack,
      ]),
    });
    expect(await answer.text()).toMatch(/ng refs\/heads\/.* the name is not UTF-8/);
    expect(rig.received).toMatchObject([{ updates: [] }]);
  });

  it('of what is live is shown as a push of the branch', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    await repo.push(rig.url(app));
    const sha = (await repo.git('rev-parse', 'HEAD')).stdout.trim() as CommitSha;
    rig.script.receivePush = async () => [
      {
        ref: 'refs/heads/redeploy',
        status: 'shown-as',
        refName: 'refs/heads/main',
        oldSha: sha,
        newSha: sha,
      },
    ];
    for (let time = 0; time < 2; time++) {
      const result = await repo.push(rig.url(app), 'main:redeploy');
      expect(result).toMatchObject({ code: 0 });
      expect(result.stderr).toMatch(/([0-9a-f]{7,})\.\.\1 +main -> main/);
    }
    expect(await refsOnServer()).toEqual(['HEAD', 'refs/heads/main']);
  });

  it('of 500 tags is one question and one answer', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    const tags = Array.from({ length: 500 }, (_, index) => `create refs/tags/v${index} HEAD\n`).join('');
    await gitClient().run(['update-ref', '--stdin'], { cwd: repo.path, input: tags });
    rig.script.receivePush = decideAsUsual;
    expect(await repo.push(rig.url(app), 'refs/tags/*')).toMatchObject({ code: 0 });
    expect(rig.received).toHaveLength(1);
    expect(await refsOnServer()).toHaveLength(500);
  });

  it('with an entry that git calls dangerous is refused, one with an old mistake is not', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    async function pushTree(tree: Buffer): Promise<GitResult> {
      const options = { cwd: repo.path, input: tree };
      const { stdout } = await gitClient().run(
        ['hash-object', '-t', 'tree', '-w', '--stdin', '--literally'],
        options,
      );
      const commit = await repo.git('commit-tree', '-m', 'odd', stdout.trim());
      return repo.push(rig.url(app), `+${commit.stdout.trim()}:refs/heads/main`);
    }
    const blob = Buffer.from((await repo.git('rev-parse', 'HEAD:a')).stdout.trim(), 'hex');
    const dangerous = await pushTree(Buffer.concat([Buffer.from('100644 .git\0'), blob]));
    expect(dangerous.code).toBe(1);
    expect(dangerous.stderr).toContain('hasDotgit');
    expect(rig.received).toEqual([]);
    const subtree = Buffer.from((await repo.git('rev-parse', 'HEAD^{tree}')).stdout.trim(), 'hex');
    expect(await pushTree(Buffer.concat([Buffer.from('040000 old\0'), subtree]))).toMatchObject({ code: 0 });
  });

  it('neither sees nor touches our own refs', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    await repo.push(rig.url(app));
    const sha = (await repo.git('rev-parse', 'HEAD')).stdout.trim() as CommitSha;
    await rig.repository(app).pin('1', sha);
    expect(await refsOnServer()).toEqual(['HEAD', 'refs/heads/main']);
    const result = await repo.push(rig.url(app), 'main:refs/gantry/deploys/2');
    expect(result.stderr).toContain('(deny updating a hidden ref)');
    expect(await rig.repository(app).pins()).toEqual(['1']);
  });

  it('from a shallow clone works, and so does a full one after it', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    for (const a of ['2', '3', '4']) await repo.commit({ a });
    const shallow = join(folder, `${app}-shallow`);
    await gitClient().run(['clone', '--depth=1', `file://${repo.path}`, shallow]);
    await gitClient().run(['commit', '--allow-empty', '--message', 'ci'], { cwd: shallow });
    expect(await gitClient().run(['push', rig.url(app), 'main'], { cwd: shallow })).toMatchObject({
      code: 0,
    });

    const clone = join(folder, `${app}-full`);
    expect(await gitClient().run(['clone', rig.url(app), clone])).toMatchObject({ code: 0 });
    await repo.git('pull', shallow, 'main');
    const sha = await repo.commit({ a: '5' });
    expect(await repo.push(rig.url(app))).toMatchObject({ code: 0 });
    expect(await gitClient().run(['pull'], { cwd: clone })).toMatchObject({ code: 0 });
    expect((await gitClient().run(['rev-parse', 'HEAD'], { cwd: clone })).stdout.trim()).toBe(sha);
    expect(await gitClient().run(['fsck', '--strict'], { cwd: clone })).toMatchObject({ code: 0 });
  });
});

describe('the log of a push', () => {
  it('arrives intact, whatever is in it', async () => {
    const lines = [
      'Größe パス 👍',
      'x'.repeat(10_000),
      `${'ü'.repeat(5000)}👍`,
      'tab\there',
      'nul\0removed',
      '',
    ];
    rig.script.receivePush = async (push, print) => {
      for (const line of lines) await print(line);
      return acceptAll(push, print);
    };
    await using repo = await temporaryRepository({ a: '1' });
    const { stderr } = await repo.push(rig.url(app));
    const shown = stderr.split('\n').filter((line) => line.startsWith('remote: '));
    expect(shown.map((line) => line.slice('remote: '.length).trimEnd()).slice(0, lines.length)).toEqual(
      lines.map((line) => line.replace('\0', '')),
    );
  });

  it('is not slowed down by us: 20 000 lines', async () => {
    rig.script.receivePush = async (push, print) => {
      for (let line = 0; line < 20_000; line++)
        await print(`line ${line} of a rather chatty build with a few words in it`);
      return acceptAll(push, print);
    };
    await using repo = await temporaryRepository({ a: '1' });
    const { code, stderr } = await repo.push(rig.url(app));
    expect(code).toBe(0);
    expect(stderr.match(/^remote: line \d+/gm)).toHaveLength(20_000);
  });

  it('reaches the pusher at once', async () => {
    const printed: number[] = [];
    const seen: number[] = [];
    const client = await temporaryRepository({ a: '1' });
    await using repo = client;
    rig.script.receivePush = async (push, print) => {
      for (let line = 0; line < 20; line++) {
        printed.push(performance.now());
        await print(`line ${line}`);
        await until('the line is seen', () => seen.length > line);
      }
      return acceptAll(push, print);
    };
    const child = repo.startPush(rig.url(app));
    child.stderr?.on('data', (chunk: Buffer) => {
      for (const _ of chunk.toString().match(/remote: line \d+/g) ?? []) seen.push(performance.now());
    });
    await new Promise((resolve) => child.on('close', resolve));
    const latencies = seen.map((time, line) => time - (printed[line] ?? 0)).sort((a, b) => a - b);
    expect(latencies[10]).toBeLessThan(100);
  });
});

describe('many pushes', () => {
  it('of twelve users at once are each seen as their own', async () => {
    rig.script.receivePush = async (push, print) => {
      await print(`hello ${push.account.name}`);
      await until('all have arrived', () => rig.received.length === 12);
      return acceptAll(push, print);
    };
    const results = await Promise.all(
      Array.from({ length: 12 }, async (_, index) => {
        await using repo = await temporaryRepository({ a: `${index}` });
        const result = await repo.push(rig.url(`${app}-${index}`, `user.${index}`));
        return { code: result.code, greeting: /hello (\S+)/.exec(result.stderr)?.[1] };
      }),
    );
    expect(results).toEqual(results.map((_, index) => ({ code: 0, greeting: `user.${index}` })));
    expect(rig.received.map((push) => `${push.app} ${push.account.name}`).sort()).toEqual(
      results.map((_, index) => `${app}-${index} user.${index}`).sort(),
    );
  });

  it('that race to be the first leave one winner', async () => {
    await using one = await temporaryRepository({ a: '1' });
    await using two = await temporaryRepository({ a: '2' });
    rig.script.receivePush = async (push, print) => {
      await until('both have arrived', () => rig.received.length === 2);
      return acceptAll(push, print);
    };
    const results = await Promise.all([one, two].map((repo) => repo.push(rig.url(app))));
    expect(results.filter((result) => result.code === 0)).toHaveLength(1);
    const winner = results[0]?.code === 0 ? one : two;
    expect(await rig.repository(app).readRef('refs/heads/main')).toBe(
      (await winner.git('rev-parse', 'HEAD')).stdout.trim(),
    );
  });
});

describe('who may do what', () => {
  it('without credentials nobody gets in', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    const result = await repo.push(rig.url(app).replace('root:right@', ''));
    expect(result.code).toBe(128);
    expect(result.stderr).toContain('could not read Username');
  });

  it('wrong credentials are told so', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    const result = await repo.push(rig.url(app, 'root', 'wrong'));
    expect(result.stderr).toContain('remote: the token is missing or wrong');
    expect(result.stderr).toContain('Authentication failed');
  });

  it('too many attempts are told so', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    expect((await repo.push(rig.url(app, 'root', 'often'))).stderr).toContain('remote: too many attempts');
  });

  it('a reader clones and does not push', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    await repo.push(rig.url(app));
    const url = rig.url(app, `reader.${app}`);
    expect(await gitClient().run(['clone', '--bare', url, join(folder, app)])).toMatchObject({ code: 0 });
    await repo.commit({ a: '2' });
    const result = await repo.push(url);
    expect(result).toMatchObject({ code: 128 });
    expect(result.stderr).toContain(`remote: token "reader.${app}" may not deploy to "${app}"`);
    expect(result.stderr).toContain('403');
  });

  it('an app that is not there and one that is not yours read the same', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    await repo.push(rig.url(app));
    async function answer(name: string, user: string, service: string) {
      const response = await rig.request(`/${name}.git/info/refs?service=git-${service}`, {
        user: `${user}:right`,
      });
      return `${response.status} ${(await response.text()).replaceAll(name, 'APP')}`;
    }
    const stranger = 'deployer.other';
    const expected = '404 app "APP" not found or not yours\n';
    expect(await answer(app, stranger, 'upload-pack')).toBe(expected);
    expect(await answer(app, stranger, 'receive-pack')).toBe(expected);
    expect(await answer('missing', stranger, 'upload-pack')).toBe(expected);
    expect(await answer('missing', stranger, 'receive-pack')).toBe(expected);
    expect(await answer('missing', 'reader.missing', 'receive-pack')).toBe(expected);
    expect(await answer('missing', 'root', 'upload-pack')).toBe(expected);
    expect(await rig.repositories.list()).not.toContain('missing');
  });

  it('a deployer creates its own app by pushing', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    expect(await repo.push(rig.url(app, `deployer.${app}`))).toMatchObject({ code: 0 });
  });

  it('an impossible name is explained', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    const result = await repo.push(rig.url('Shop_1'));
    expect(result.stderr).toContain(
      'remote: "Shop_1" cannot be an app: an app name has 1 to 40 lower-case letters',
    );
  });
});

describe('when something is missing', () => {
  it('no queue: the push is refused before anything is sent, clones go on', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    await repo.push(rig.url(app));
    rig.script.ensureReady = () => {
      throw new UserError('QUEUE_UNAVAILABLE', 'the deploy queue is unavailable', 'try again in a minute');
    };
    await repo.commit({ a: '2' });
    const result = await repo.push(rig.url(app));
    expect(result.code).toBe(128);
    expect(result.stderr).toContain('remote: the deploy queue is unavailable');
    expect(result.stderr).toContain('remote: hint: try again in a minute');
    expect(result.stderr).not.toContain('Everything up-to-date');
    expect(await refsOnServer()).toContain('refs/heads/main');
  });

  /** Lets git ask what there is, and fails what it sends then. */
  function failUploads(): void {
    let isAnswered = false;
    rig.script.ensureReady = async () => {
      isAnswered = true;
    };
    rig.script.authenticated = () => {
      if (isAnswered)
        throw new UserError('QUEUE_UNAVAILABLE', 'the deploy queue is unavailable', 'try again in a minute');
    };
  }

  const refusal =
    /^remote: hint: try again in a minute *\n(?:remote: *\n)*To [^]* \(the deploy queue is unavailable\)\n/m;

  it('no queue once git sends the push: every ref is refused with the reason', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    await repo.push(rig.url(app));
    await repo.commit({ a: '2' });
    failUploads();
    const result = await repo.push(rig.url(app), ['main', 'main:straße']);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(refusal);
    expect(result.stderr).toMatch(/! \[remote rejected\] main -> main \(the deploy queue is unavailable\)/);
    expect(result.stderr).toMatch(/! \[remote rejected\] main -> straße \(the deploy queue is unavailable\)/);
    rig.script.authenticated = () => {};
    expect(await refsOnServer()).not.toContain('refs/heads/straße');
  });

  it('no queue for a push so large that git asks with an empty one before', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    await repo.push(rig.url(app));
    await repo.commit({ large: randomBytes(3 * 1024 * 1024).toString('base64') });
    failUploads();
    const large = await repo.push(rig.url(app), 'main');
    expect(large.code).toBe(1);
    expect(large.stderr).toMatch(refusal);
  });

  it('no queue for a push from a shallow clone', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    await using shallow = await temporaryRepository({ a: '1' });
    await repo.commit({ a: '2' });
    failUploads();
    await shallow.git('fetch', '--depth=1', `file://${repo.path}`, 'main');
    const result = await shallow.push(rig.url(app), 'FETCH_HEAD:refs/heads/other');
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(refusal);
  });

  it('no decision about a ref refuses it', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    rig.script.receivePush = async () => [];
    expect((await repo.push(rig.url(app))).stderr).toContain(
      '! [remote rejected] main -> main (internal error)',
    );
  });

  it('an exception refuses all refs, a UserError in its own words', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    rig.script.receivePush = () => Promise.reject(new Error('secret detail'));
    expect((await repo.push(rig.url(app))).stderr).toContain('(internal error)');
    rig.script.receivePush = () => Promise.reject(new UserError('CONFLICT', 'the app is being deleted'));
    expect((await repo.push(rig.url(app))).stderr).toContain('(the app is being deleted)');
  });

  it('a reason of several lines stays one', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    rig.script.receivePush = async () => [
      { ref: 'refs/heads/main', status: 'refused', reason: 'one\nok refs/heads/x' },
    ];
    const { stderr } = await repo.push(rig.url(app));
    expect(stderr).toContain('! [remote rejected] main -> main (one\\u000aok refs/heads/x)');
  });

  it('a repository that cannot be read is an error and not an empty one', async () => {
    await using repo = await temporaryRepository({ a: '1' });
    await repo.push(rig.url(app));
    await rm(join(rig.repository(app).path, 'HEAD'));
    const result = await gitClient().run(['ls-remote', rig.url(app)]);
    expect(result.stderr).toContain(`remote: the repository of "${app}" cannot be read`);
  });

  it('a silent build outlives every time-out of the server', async () => {
    await using strict = await startGitRig({
      limits: { bodyIdleMs: 300, stallMs: 300, terminateAfterMs: 300 },
    });
    strict.server.timeout = 300;
    strict.server.keepAliveTimeout = 300;
    strict.script.receivePush = async (push, print) => {
      await new Promise((resolve) => setTimeout(resolve, 2000));
      return acceptAll(push, print);
    };
    await using repo = await temporaryRepository({ a: '1' });
    expect(await repo.push(strict.url(app))).toMatchObject({ code: 0 });
    await until('its processes are gone', () => serverProcesses().length === 0);
  });
});
