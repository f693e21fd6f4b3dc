import { spawn } from 'node:child_process';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import type { BlockList } from 'node:net';
import { join } from 'node:path';
import { type CommitSha, parseCommitSha } from '../domain/app.ts';
import type { RemoteUrl } from '../domain/remote-url.ts';
import { runGit } from './git-command.ts';
import { Repository } from './repository.ts';

/** What the administrator allows. */
export type FetchSettings = {
  /** Internal addresses that may be fetched from after all. */
  allowedInternal: BlockList;
  /** Certificates of authorities to trust instead of the machine's. */
  caFile: string | undefined;
};

/** How a server is asked. */
export type RemotePlace = {
  /** A new folder for the repository. Nobody but us may see into its parent. */
  dir: string;
  /** Where the host was found to be; no other address is dialled. */
  address: string;
  caFile: string | undefined;
  /** A file with the private key for ssh. */
  keyFile: string | undefined;
  knownHostsFile: string;
  signal: AbortSignal;
};

export type FetchPlace = RemotePlace & {
  maxBytes: number;
  /** A repository whose commits need not be fetched again. With it the whole history comes, without it one commit. */
  beside?: Repository;
};

const lookEveryMs = 200;

/** Fetches one commit from a server into a repository of its own. Throws what git said when it failed. */
export async function fetchCommit(
  from: RemoteUrl,
  commit: CommitSha,
  place: FetchPlace,
): Promise<Repository> {
  const { dir, signal, beside } = place;
  const env = await openRemote(from, place);
  const limit = new AbortController();
  const watching = setInterval(() => {
    void sizeOf(join(dir, 'objects')).then((bytes) => bytes > place.maxBytes && limit.abort());
  }, lookEveryMs);
  try {
    const stop = AbortSignal.any([signal, limit.signal]);
    const fetch = ['fetch', '--quiet', '--no-tags', '--no-auto-gc', '--no-recurse-submodules'];
    const much = beside ? [] : ['--depth=1'];
    await git([...fetch, ...much, 'origin', commit], env, stop).catch(async (error: unknown) => {
      if (stop.aborted || !/not our ref|unadvertised object|remote ref|shallow/i.test(String(error)))
        throw error;
      // Servers need not give out commits that no branch ends in.
      await git([...fetch, 'origin', '+refs/heads/*:refs/heads/*'], env, stop);
    });
    if ((await sizeOf(join(dir, 'objects'))) > place.maxBytes) limit.abort();
    limit.signal.throwIfAborted();
  } catch (error) {
    signal.throwIfAborted();
    if (limit.signal.aborted)
      throw new Error(`it is larger than ${Math.round(place.maxBytes / 1024 ** 2)} MiB`);
    throw error;
  } finally {
    clearInterval(watching);
  }
  const repository = new Repository(dir);
  if ((await repository.commitInfo(commit)) === undefined) throw new Error(`not our ref ${commit}`);
  return repository;
}

/** Where a branch ends on a server; `undefined`: it has no such branch. Throws what git said when it could not be asked. */
export async function askForBranch(
  from: RemoteUrl,
  branch: string,
  place: RemotePlace,
): Promise<CommitSha | undefined> {
  const ref = `refs/heads/${branch}`;
  const said = await git(
    ['ls-remote', '--quiet', 'origin', ref],
    await openRemote(from, place),
    place.signal,
  );
  // What is asked for may also be the end of a longer name.
  const line = said.split('\n').find((text) => text.endsWith(`\t${ref}`));
  return parseCommitSha(line?.split('\t')[0] ?? '');
}

/** Makes a repository that knows the server and how to be let in. Returns the environment for git's commands in it. */
async function openRemote(
  from: RemoteUrl,
  place: RemotePlace & { beside?: Repository },
): Promise<Record<string, string>> {
  const { dir, beside } = place;
  await runGit(['init', '--bare', '--quiet', '--template=', dir], {});
  if (beside) {
    await mkdir(join(dir, 'objects/info'), { recursive: true });
    await writeFile(join(dir, 'objects/info/alternates'), `${join(beside.path, 'objects')}\n`);
  }
  await writeFile(join(dir, 'config'), gitConfig(from, place), { mode: 0o600 });
  return {
    PATH: process.env.PATH ?? '/usr/bin:/bin',
    LC_ALL: 'C.UTF-8',
    GIT_DIR: dir,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_NO_REPLACE_OBJECTS: '1',
    // Whatever a server says, git goes on with no other protocol.
    GIT_ALLOW_PROTOCOL: from.protocol,
    ...(from.protocol === 'ssh' && (await sshEnvironment(from, place))),
  };
}

/** Keys from Windows and values that lost their last line end are no keys to ssh. */
export async function writeKeyFile(file: string, key: string): Promise<void> {
  await writeFile(file, `${key.replaceAll('\r\n', '\n').trim()}\n`, { mode: 0o600 });
}

function gitConfig({ protocol, host, port, user, password, url }: RemoteUrl, place: RemotePlace): string {
  const login = Buffer.from(`${user ?? ''}:${password ?? ''}`).toString('base64');
  const http =
    protocol === 'ssh'
      ? ''
      : `[http]
  followRedirects = false
  sslVerify = true
  lowSpeedLimit = 1000
  lowSpeedTime = 30
  curloptResolve = ${quoted(`${host}:${port}:${place.address}`)}
${place.caFile === undefined ? '' : `  sslCAInfo = ${quoted(place.caFile)}\n`}${
  user === undefined && password === undefined ? '' : `  extraHeader = "Authorization: Basic ${login}"\n`
}`;
  return `[core]
  repositoryformatversion = 0
  bare = true
  hooksPath = /dev/null
  attributesFile = /dev/null
[gc]
  auto = 0
[uploadpack]
  allowAnySHA1InWant = true
[fetch]
  fsckObjects = true
[fetch "fsck"]
  zeroPaddedFilemode = ignore
  badTimezone = ignore
  missingSpaceBeforeDate = ignore
[credential]
  helper =
${http}[remote "origin"]
  url = ${quoted(url)}
`;
}

/** A program instead of a command line: what git starts for ssh goes through no shell with anything but constants in it. */
const sshWrapper = '#!/bin/sh\nexec ssh -F "$GANTRY_SSH_CONFIG" "$@"\n';

async function sshEnvironment(
  { host, port }: RemoteUrl,
  place: RemotePlace,
): Promise<Record<string, string>> {
  const folder = join(place.dir, 'ssh-command');
  await mkdir(folder, { mode: 0o700 });
  const [wrapper, config] = [join(folder, 'ssh'), join(folder, 'config')];
  await writeFile(wrapper, sshWrapper, { mode: 0o700 });
  await writeFile(
    config,
    `HostName ${place.address}
HostKeyAlias ${port === 22 ? host : `[${host}]:${port}`}
IdentityFile ${quoted(place.keyFile ?? '/dev/null')}
IdentitiesOnly yes
IdentityAgent none
BatchMode yes
StrictHostKeyChecking accept-new
UserKnownHostsFile ${quoted(place.knownHostsFile)}
GlobalKnownHostsFile /dev/null
UpdateHostKeys no
ConnectTimeout 15
ServerAliveInterval 15
ProxyCommand none
PermitLocalCommand no
ClearAllForwardings yes
LogLevel ERROR
`,
    { mode: 0o600 },
  );
  return { GIT_SSH: wrapper, GIT_SSH_VARIANT: 'ssh', GANTRY_SSH_CONFIG: config };
}

/** Much of what a command prints is not wanted: a ref is one line. */
const mostPrinted = 1_000_000;

/** Returns what it printed. */
function git(args: readonly string[], env: Record<string, string>, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    // A group of its own: with git end the transports it starts.
    const child = spawn('git', args, { cwd: '/', env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed = (printed + text).slice(0, mostPrinted);
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-16_384);
    });
    const kill = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    };
    signal.addEventListener('abort', kill);
    if (signal.aborted) kill();
    child.on('error', reject);
    child.on('close', (code) => {
      signal.removeEventListener('abort', kill);
      if (code === 0) resolve(printed);
      else reject(new Error(said.trim() || `git ended with code ${code}`));
    });
  });
}

async function sizeOf(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(folder, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Understood by git's and by ssh's configuration; there are no control characters in URLs and paths of ours. */
function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}
