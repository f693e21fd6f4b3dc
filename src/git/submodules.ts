import { lstat, mkdir, realpath, rm, rmdir } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { CommitSha } from '../domain/app.ts';
import { parseRemoteUrl, showRemoteUrl } from '../domain/remote-url.ts';
import { messageOf } from '../errors.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import { explainFetch, type FetchWords } from './explain-fetch.ts';
import { type FetchSettings, fetchCommit, writeKeyFile } from './fetch-commit.ts';
import { publicAddress } from './public-address.ts';
import type { Repository } from './repository.ts';

export type SubmoduleRequest = {
  repository: Repository;
  commit: CommitSha;
  /** The folder with the files of the commit. */
  checkout: string;
  /** A folder beside it for what is needed in between; removed afterwards. */
  scratch: string;
  /** Remembers which ssh server has which key. */
  knownHostsFile: string;
  sshKey: string | undefined;
  /** Called before each is fetched. */
  report: (path: string, url: string, commit: CommitSha) => Promise<void>;
  signal: AbortSignal;
};

export type SubmoduleProblem = { path: string; url: string; reason: string; hint?: string | undefined };

const limits = {
  depth: 5,
  count: 100,
  fetchedBytes: 512 * 1024 ** 2,
  checkedOutBytes: 2 * 1024 ** 3,
  timeMs: 600_000,
};

const words: FetchWords = {
  key: 'the key in CC_SSH_PRIVATE_KEY',
  giveKey: 'set CC_SSH_PRIVATE_KEY',
  url: '.gitmodules',
  push: 'git push --recurse-submodules=check',
};

const relativeUrl: [string, string] = [
  'its URL is relative, and nobody knows here where the repository itself comes from',
  'write the whole URL into .gitmodules: https://host/path.git',
];

type Run = SubmoduleRequest & {
  settings: FetchSettings;
  keyFile: string | undefined;
  count: number;
  bytes: number;
};

/** Puts the files of all submodules, and of theirs, into a checkout. The first that cannot be had ends it. */
export async function fetchSubmodules(
  request: SubmoduleRequest,
  settings: FetchSettings,
): Promise<SubmoduleProblem | undefined> {
  const { scratch, sshKey } = request;
  const deadline = timeoutSignal(limits.timeMs);
  const signal = AbortSignal.any([request.signal, deadline]);
  await rm(scratch, { recursive: true, force: true });
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  await mkdir(dirname(request.knownHostsFile), { recursive: true, mode: 0o700 });
  const keyFile = sshKey === undefined ? undefined : join(scratch, 'key');
  try {
    if (keyFile !== undefined) await writeKeyFile(keyFile, sshKey ?? '');
    const run: Run = { ...request, signal, settings, keyFile, count: 0, bytes: 0 };
    return await visit(run, request.repository, request.commit, request.checkout, '', 1);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }

  async function visit(
    run: Run,
    repository: Repository,
    commit: CommitSha,
    folder: string,
    prefix: string,
    depth: number,
  ): Promise<SubmoduleProblem | undefined> {
    for (const module of await repository.submodules(commit)) {
      const path = prefix + module.path;
      const url = showRemoteUrl(module.url ?? '');
      const failed = (reason: string, hint?: string): SubmoduleProblem => ({ path, url, reason, hint });
      if (module.url === undefined)
        return failed('.gitmodules has no URL for it', 'git submodule add URL PATH');
      if (depth > limits.depth) return failed(`submodules are nested more than ${limits.depth} deep`);
      run.count += 1;
      if (run.count > limits.count) return failed(`there are more than ${limits.count} submodules`);
      if (/^\.\.?\//.test(module.url)) return failed(...relativeUrl);
      const from = parseRemoteUrl(module.url);
      if ('problem' in from) return failed(from.problem);
      if (from.protocol === 'ssh' && run.keyFile === undefined)
        return failed(
          'ssh needs a key',
          'gantry env set CC_SSH_PRIVATE_KEY=@file  with a key the server knows',
        );
      const address = await publicAddress(from.host, run.settings.allowedInternal);
      if ('problem' in address) return failed(address.problem, address.hint);

      await run.report(path, url, module.commit);
      const dir = join(scratch, `${run.count}.git`);
      let fetched: Repository;
      try {
        fetched = await fetchCommit(from, module.commit, {
          dir,
          address: address.address,
          caFile: run.settings.caFile,
          keyFile: run.keyFile,
          knownHostsFile: run.knownHostsFile,
          maxBytes: limits.fetchedBytes,
          signal: run.signal,
        });
      } catch (error) {
        request.signal.throwIfAborted();
        if (deadline.aborted) return failed(`submodules took more than ${limits.timeMs / 60_000} minutes`);
        const [reason, hint] = explainFetch(messageOf(error), from, module.commit, words);
        return failed(reason, hint);
      }
      run.bytes += await fetched.sizeOf(module.commit);
      if (run.bytes > limits.checkedOutBytes)
        return failed(`the files of all submodules are more than ${limits.checkedOutBytes / 1024 ** 3} GiB`);
      const place = join(folder, module.path);
      if (!(await isEmptyFolderIn(place, folder))) return failed('its folder is not an empty folder');
      await rmdir(place);
      await fetched.checkout(module.commit, place, run.signal, join(dir, 'checkout.index'));
      const inner = await visit(run, fetched, module.commit, place, `${path}/`, depth + 1);
      if (inner) return inner;
      await rm(dir, { recursive: true, force: true });
    }
    return undefined;
  }
}

async function isEmptyFolderIn(place: string, folder: string): Promise<boolean> {
  const parent = await realpath(dirname(place)).catch(() => undefined);
  if (parent === undefined || relative(await realpath(folder), parent).startsWith('..')) return false;
  return lstat(place).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
}
