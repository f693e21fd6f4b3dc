import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export type GitResult = {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
};

export type GitRunOptions = { cwd?: string; env?: Record<string, string>; input?: string | Buffer };

/** What a file of a test repository is: its content, a symbolic link, or `undefined` to delete it. */
type TestFile =
  | string
  | Buffer
  | { content: string | Buffer; executable: true }
  | { linkTo: string }
  | undefined;
export type TestFiles = Record<string, TestFile>;

export type PushOptions = GitRunOptions & { args?: readonly string[] };

/** The real git client, shielded from the settings, credentials and proxies of whoever runs the tests. */
export function gitClient() {
  const cleanEnv = {
    PATH: process.env.PATH ?? '/usr/bin:/bin',
    HOME: '/nonexistent',
    LC_ALL: 'C.UTF-8',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_AUTHOR_NAME: 'Ana',
    GIT_AUTHOR_EMAIL: 'ana@example.com',
    GIT_COMMITTER_NAME: 'Ana',
    GIT_COMMITTER_EMAIL: 'ana@example.com',
  };

  /** Starts git and leaves it to the test, for Ctrl-C and the like. */
  function start(args: readonly string[], options: GitRunOptions = {}): ChildProcess {
    return spawn('git', ['-c', 'gc.auto=0', ...args], {
      cwd: options.cwd ?? tmpdir(),
      env: { ...cleanEnv, ...options.env },
      stdio: 'pipe',
    });
  }

  function run(args: readonly string[], options: GitRunOptions = {}): Promise<GitResult> {
    const child = start(args, options);
    child.stdin?.on('error', () => {}).end(options.input);
    return resultOf(child);
  }

  return { start, run };
}

/** Everything a child printed, once it has ended. */
export function resultOf(child: ChildProcess): Promise<GitResult> {
  return new Promise((resolve, reject) => {
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      resolve({
        code,
        signal,
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString(),
      });
    });
  });
}

/** A working repository on branch `main` with one commit of these files; removed when it goes out of scope. */
export async function temporaryRepository(files: TestFiles = {}) {
  const client = gitClient();
  const path = await mkdtemp(join(tmpdir(), 'gantry-repo-'));

  function git(...args: string[]): Promise<GitResult> {
    return client.run(args, { cwd: path });
  }

  /** What a command writes to its standard output, byte for byte. */
  async function gitBytes(args: readonly string[]): Promise<Buffer> {
    const child = client.start(args, { cwd: path });
    child.stdin?.end();
    const chunks: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk));
    await resultOf(child);
    return Buffer.concat(chunks);
  }

  async function succeed(...args: string[]): Promise<string> {
    const result = await git(...args);
    if (result.code !== 0) throw new Error(`git ${args.join(' ')}: ${result.stderr}`);
    return result.stdout.trim();
  }

  /** Writes (or deletes) the files and commits them; returns the commit's id. */
  async function commit(changes: TestFiles, message = 'change'): Promise<string> {
    for (const [name, file] of Object.entries(changes)) await writeTestFile(join(path, name), file);
    await succeed('add', '--all', '--force');
    await succeed('commit', '--quiet', '--allow-empty', '--message', message);
    return succeed('rev-parse', 'HEAD');
  }

  function push(
    url: string,
    refspec: string | readonly string[] = 'main',
    options: PushOptions = {},
  ): Promise<GitResult> {
    return client.run(pushArgs(url, refspec, options), { ...options, cwd: path });
  }

  /** Like push, but leaves the running client to the test. */
  function startPush(
    url: string,
    refspec: string | readonly string[] = 'main',
    options: PushOptions = {},
  ): ChildProcess {
    return client.start(pushArgs(url, refspec, options), { ...options, cwd: path });
  }

  await succeed('init', '--quiet', '--initial-branch=main');
  // Random bytes cannot be compressed, and trying takes longer than anything that is tested.
  await succeed('config', 'core.compression', '0');
  await commit(files, 'first');
  return {
    path,
    git,
    gitBytes,
    commit,
    push,
    startPush,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

function pushArgs(url: string, refspec: string | readonly string[], options: PushOptions): string[] {
  return ['push', ...(options.args ?? []), url, ...[refspec].flat()];
}

async function writeTestFile(path: string, file: TestFile): Promise<void> {
  await rm(path, { force: true, recursive: true });
  if (file === undefined) return;
  await mkdir(dirname(path), { recursive: true });
  if (typeof file === 'string' || Buffer.isBuffer(file)) return writeFile(path, file);
  if ('linkTo' in file) return symlink(file.linkTo, path);
  await writeFile(path, file.content);
  await chmod(path, 0o755);
}
